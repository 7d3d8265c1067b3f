"""A host that grants less: /tmp without exec, no cgroup, no user namespaces, a /proc that is hidden."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.faults.mounts import own_mounts
from tests.faults.observed import Watch
from tests.faults.table import apart, note
from tests.rigs.real_processes import COMMAND, LIMIT_S, Site, wait_until
from tests.rigs.steered_plane import SteeredPlane
from tests.rigs.troubled_wire import TroubledWire
from tests.rigs.unprivileged import as_nobody

pytestmark = [pytest.mark.needs_root, pytest.mark.long]

HOST, STRICT = "-allow-root-exec=true", "-allow-root-exec=false"
SLOTS = ("--slots", "2")
NOBODY = 65_534
MIB = 1 << 20
EX_OSERR = 71


def run(plane: SteeredPlane, site: Site, script: str, **limits: int) -> dict[str, Any]:
    return plane.result(plane.create(site.node, script, **limits))


def policy(site: Site, **levels: str) -> tuple[str, str]:
    """Flags for a policy file with these settings."""
    file = site.place / "levels.toml"
    file.write_text("".join(f'{name} = "{level}"\n' for name, level in levels.items()))
    return "--policy", str(file)


@pytest.mark.parametrize("level", [HOST, STRICT])
def test_tmp_noexec(plane: SteeredPlane, wire: TroubledWire, tmp_path: Path, level: str) -> None:
    """All of /tmp, with the state directory and the work directories in it."""
    noexec = ("mount --bind /tmp /tmp", "mount -o remount,bind,noexec /tmp")
    with own_mounts(*noexec) as mounts:
        site = Site(tmp_path, wire.url, plane.add_node(), prefix=mounts.enter)
        assert "noexec" in mounts.run("findmnt", "-n", "-o", "OPTIONS", "/tmp")
        with site.agent(*policy(site, min_level="host"), level, *SLOTS) as agent:
            agent.wait_log('"ready"')
            seen = Watch(agent, wire).beats(3)
            result = run(plane, site, "cp /bin/true own && ./own && echo ran; echo done")
            assert result["stdout"].endswith("done\n"), result
            seen.assert_calm(lines=1)
            assert agent.stop() == 0
    note(
        "/tmp noexec",
        during=f"no difference: nothing of the agent's is executed there, and a script is read by its interpreter"
        f" ({seen})",
        after="nothing to recover from",
    )
    apart("/tmp noexec", "it executes nothing")


HUNGRY = """
import time
kept = bytearray(256 << 20)
for at in range(0, len(kept), 4096):
    kept[at] = 1
time.sleep(60)
"""


def test_no_cgroup_delegation(plane: SteeredPlane, wire: TroubledWire, tmp_path: Path) -> None:
    """Not even the file systems of cgroups are there."""
    with own_mounts("umount -R -l /sys/fs/cgroup; mount -t tmpfs -o ro tmpfs /sys/fs/cgroup") as mounts:
        site = Site(tmp_path, wire.url, plane.add_node(), prefix=mounts.enter)
        limited = policy(site, min_level="strict")
        with Path(limited[1]).open("a") as file:
            file.write(f"[limits]\nmemory_bytes = {64 * MIB}\n")
        with site.agent(*limited, STRICT, *SLOTS) as agent:
            agent.wait_log('"ready"')
            watch = Watch(agent, wire)
            result = plane.result(plane.create(site.node, HUNGRY, "python3"))
            seen = watch.beats(2)
            assert result["outcome"] == "memory_limit", result
            seen.assert_calm(lines=1)
            assert "cgroup" not in str(plane.node(site.node)["agent_runtime"])
            assert agent.stop() == 0
    note(
        "no cgroup delegation",
        during=f"memory of a cell is measured and its end enforced by the spawner; what only a controller could do is"
        f" not claimed in `agent_runtime` ({seen})",
        after="a delegation counts from the next start on",
    )
    apart("no cgroup delegation", "it makes no group")


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that an ordinary user reaches."""
    with TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o777)
        yield Path(name)


def site_of_nobody(plane: SteeredPlane, wire: TroubledWire, place: Path, *prefix: str) -> Site:
    site = Site(place, wire.url, plane.add_node(), prefix=[*prefix, *as_nobody()])
    site.command()
    os.chown(place / "token", NOBODY, NOBODY)
    return site


def test_proc_hides_the_processes_of_others(plane: SteeredPlane, wire: TroubledWire, open_place: Path) -> None:
    with own_mounts("mount -t proc -o hidepid=2 proc /proc") as mounts:  # not a remount: that is of every /proc
        site = site_of_nobody(plane, wire, open_place, *mounts.enter)
        with site.agent(*policy(site, min_level="host"), *SLOTS) as agent:
            agent.wait_log('"ready"')
            watch = Watch(agent, wire)
            assert run(plane, site, "echo done")["stdout"] == "done\n"
            seen = watch.beats(2)
            seen.assert_calm(lines=1)
            assert agent.stop() == 0
    note(
        "/proc hidden",
        during=f"hidepid=2 makes no difference: a cell has a /proc of its own ({seen}); without /proc a start ends with"
        " code 71 and says what to mount",
        after="nothing to recover from; with /proc a start works",
    )
    apart("/proc hidden", "it does not look into it")


def test_without_proc_a_start_is_useless(plane: SteeredPlane, tmp_path: Path) -> None:
    with own_mounts("mount -t tmpfs tmpfs /proc") as mounts:
        command = Site(tmp_path, plane.url, plane.add_node()).command(STRICT)
        ended = subprocess.run([*mounts.enter, COMMAND, *command], capture_output=True, text=True, timeout=LIMIT_S)
    assert ended.returncode == EX_OSERR
    assert "/proc is not mounted" in ended.stderr
    assert "mount proc on /proc" in ended.stderr
    assert "Traceback" not in ended.stderr


NO_NAMESPACES = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
WITHOUT = (
    *("unshare", "--user", "--map-root-user", "sh", "-c", NO_NAMESPACES, "sh"),
    *("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--"),
)
"""Runs a program where no user namespace can be made and it has no right to make others."""


@pytest.mark.parametrize(("min_level", "outcome"), [("strict", "refused"), ("host", "succeeded")])
def test_user_namespaces_forbidden(
    plane: SteeredPlane, wire: TroubledWire, open_place: Path, min_level: str, outcome: str
) -> None:
    site = site_of_nobody(plane, wire, open_place)
    site = replace(site, prefix=[*site.prefix, *WITHOUT])
    with site.agent("--policy", "", "--min-level", min_level, HOST, *SLOTS) as agent:
        wait_until(lambda: '"ready"' in agent.log_text(), "its looks at the host", limit_s=90)
        watch = Watch(agent, wire)
        result = run(plane, site, "echo done")
        seen = watch.beats(2)
        assert result["outcome"] == outcome, result
        seen.assert_calm(lines=1)
        assert "level strict is not reached" in agent.log_text()
        assert agent.stop() == 0
    if outcome == "refused":
        assert "strict" in result["error"]
        note(
            "user namespaces forbidden",
            during=f"the node is online; tasks are refused, with the level that is not reached, unless the policy"
            f" accepts a weaker one; `doctor` names the setting ({seen})",
            after="a start looks again, and the agent itself a few times in the next hour and a half",
        )
        apart("user namespaces forbidden", "it makes none; it shows what the node says, and previews the refusal")
