"""Running the agent: the steps between the restart (``cli.scrub``) and ``lattice_agent.app``, in their order.

The order is the point. Nothing secret is in this process before it is closed to its own user, and nothing that a
spawner should not have is loaded or read before the spawner runs. The network libraries come with ``app``, last.
"""

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import prctl

from lattice_agent import config, logs
from lattice_agent.cli import commandline, scrub
from lattice_agent.cli.scrub import Invocation

if TYPE_CHECKING:
    from lattice_agent.exec.launch import SpawnerProcess

_log = logging.getLogger(__name__)

_PROCESS_NAME = "lattice-agent"  # what ps and pgrep show, as for the Go agent; the kernel keeps 15 bytes


def resumed(descriptor: int) -> int:
    """Everything after the restart; returns the agent's exit code. Raises UsageError and ConfigError."""
    scrub.adopt(descriptor)
    _close_to_own_user()
    spawner = _start_spawner()
    try:
        invocation = scrub.receive(descriptor)
        scrub.restore_proxies(invocation)
        settings = _settings(invocation)
        _check_transport(settings.control_plane)
    except BaseException:
        spawner.close()
        raise
    return _run_app(settings, invocation.environ, spawner)


def _close_to_own_user() -> None:
    """Files in /proc, ptrace and core dumps of this process are root's from here on; a later exec opens them again."""
    prctl.set_dumpable(0)
    prctl.set_name(_PROCESS_NAME)


def _start_spawner() -> "SpawnerProcess":
    from lattice_agent.exec.launch import start_spawner

    return start_spawner()


def _settings(invocation: Invocation) -> config.Settings:
    line = commandline.read(invocation.words, invocation.environ)
    loaded = config.load(line.flags, line.environ, euid=os.geteuid())
    logs.configure(debug=loaded.settings.log.debug)
    for given in (loaded.settings.agent.token, loaded.settings.usage.secret):
        logs.hide(given)
    loaded = config.complete(loaded)
    settings = loaded.settings
    logs.hide(settings.agent.token)
    logs.hide(settings.usage.secret)
    for warning in loaded.warnings:
        _log.warning("%s", warning)
    if line.ignored:
        _log.warning("%d words after the flags are ignored; a boolean is -flag or -flag=false", line.ignored)
    return settings


def _check_transport(settings: config.ControlPlaneSettings) -> None:
    """Refuses a cleartext URL before a state directory is touched; ``link`` judges it again, and warns."""
    from lattice_agent.link.transport_policy import judge_base_url

    judge_base_url(settings.base_url, allow_insecure_http=settings.allow_insecure_http)


def _run_app(settings: config.Settings, environ: Mapping[str, str], spawner: "SpawnerProcess") -> int:
    from lattice_agent import app

    return app.run(settings, environ, spawner)
