"""What tasks may do on this node: settings, local policy and what a probe of the host saw, as decisions.

Every reader of these three asks here, so that what is decided, what is reported and which cells are kept ready cannot
differ.
"""

import logging
import os
import shutil
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from lattice_agent.config import ControlPlaneSettings, Settings, read_policy
from lattice_agent.exec.host import count_uid_threads, find_confined_interpreters, find_interpreters
from lattice_agent.exec.host_state import HostState
from lattice_agent.exec.level_choice import LevelChoice, default_level, root_opt_in_warning, with_min_level
from lattice_agent.exec.local_policy import LocalPolicy
from lattice_agent.exec.plan import Level, Plan, Profile, Refusal, TaskRequest
from lattice_agent.exec.policy import decide, profile_at
from lattice_agent.exec.policy_file import parse_policy
from lattice_agent.exec.probe import HostProbe, probe_host
from lattice_agent.exec.runner import Runner
from lattice_agent.policy_summary import summarise
from lattice_agent.report.runtime import describe_runtime
from lattice_agent.wire.policy import PolicySummary
from lattice_agent.wire.runtime import AgentRuntime

log = logging.getLogger(__name__)


def load_policy(settings: Settings) -> LocalPolicy:
    """The local policy with ``-min-level`` applied; the default without a file. Raises PolicyError."""
    path = settings.exec.policy_path
    policy = LocalPolicy() if path is None else parse_policy(read_policy(path))
    return with_min_level(policy, settings.exec.min_level)


class Execution:
    """Decides for one agent's life; ``probe`` is None where no task runs anyway. Levels may be gained meanwhile."""

    def __init__(
        self, settings: Settings, policy: LocalPolicy, environ: Mapping[str, str], probe: HostProbe | None
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._environ = {name: value for name, value in environ.items() if not name.startswith("LATTICE_")}
        self._probe = probe
        self._level = default_level(policy, self._host_state())

    @classmethod
    async def prepare(
        cls, settings: Settings, policy: LocalPolicy, environ: Mapping[str, str], runner: Runner
    ) -> "Execution":
        """Probe the host if tasks can run at all, say what came of it, and have cells for them made ready."""
        allowed = settings.exec.allow_exec and not settings.exec.no_exec
        execution = cls(settings, policy, environ, await probe_host(runner, allow_groups=True) if allowed else None)
        if allowed:
            execution._tell()
            runner.keep_ready(execution.kept_profile)
        return execution

    @property
    def may_gain(self) -> bool:
        """Whether another probe could come to more than the last one."""
        return self._probe is not None and not self._probe.is_complete

    async def probe_again(self, runner: Runner) -> None:
        """A level that is reached now counts from now on; one that was reached stays so."""
        if self._probe is None:
            return
        before, probe = self._probe.reached, self._probe.or_newer(await probe_host(runner, allow_groups=True))
        self._probe = probe
        if gained := probe.reached - before:
            self._level = default_level(self._policy, self._host_state())
            log.info("reached at a later look: level %s", ", ".join(sorted(gained)))
            self._tell()
            runner.keep_ready(self.kept_profile)

    @property
    def kept_profile(self) -> Profile | None:
        """The kind of cell that tasks without a wish run in; None if that is none, or one that is not kept ready."""
        if not isinstance(self._level, LevelChoice) or self._level.level is Level.LANDLOCK:
            return None
        profile = profile_at(self._level.level, self._policy)
        return None if profile is None or profile.work_disk is not None else profile

    def decide(self, request: TaskRequest) -> Plan | Refusal:
        """How a task will run, or why not."""
        uid = os.geteuid()
        uid_threads = None if uid == 0 else count_uid_threads(uid)  # RLIMIT_NPROC does not bind root
        return decide(request, self._policy, self._host_state(uid_threads))

    def policy_summary(self) -> PolicySummary:
        """What a control plane may know of the policy before it sends a task. About 1 ms, with 10,000 rules for scripts
        50 ms."""
        return summarise(self._policy, self._host_state())

    def runtime(self) -> AgentRuntime:
        """What the agent tells the control plane about itself."""
        settings = self._settings
        level = self._level.level if isinstance(self._level, LevelChoice) else None
        return describe_runtime(
            allow_exec=settings.exec.allow_exec,
            allow_root_exec=settings.exec.allow_root_exec,
            no_exec=settings.exec.no_exec,
            uid=os.geteuid(),
            usage_file=os.fspath(settings.usage.file or ""),
            usage_url=settings.usage.url,
            xray_api=",".join(settings.usage.xray_api),
            xray_bin=settings.usage.xray_bin if settings.usage.xray_api else "",
            xray_pattern=settings.usage.xray_pattern if settings.usage.xray_api else "",
            singbox_api=",".join(settings.usage.singbox_stats_api),
            reported_at=datetime.now(UTC),
            level=level.value if level else None,
            reached=[reached.value for reached in self._reached],
            features=self._probe.features(level) if self._probe and level else (),
        )

    @property
    def _reached(self) -> frozenset[Level]:
        return self._probe.reached if self._probe else frozenset({Level.HOST})

    def _host_state(self, uid_threads: int | None = None) -> HostState:
        """The node now, with as many threads of our uid; half a millisecond."""
        settings, uid, probe = self._settings, os.geteuid(), self._probe
        return HostState(
            allow_exec=settings.exec.allow_exec,
            allow_root_exec=settings.exec.allow_root_exec,
            no_exec=settings.exec.no_exec,
            uid=uid,
            interpreters=find_interpreters(os.environ.get("PATH", os.defpath), self._policy),
            agent_bin=agent_command(),
            work_root=None if settings.exec.work_root is None else os.fspath(settings.exec.work_root),
            uid_threads=uid_threads,
            agent_environment=_selfcheck_environment(settings.control_plane),
            reached=self._reached,
            confined_interpreters=find_confined_interpreters(self._policy),
            shared_uid=probe.shared_uid if probe else frozenset({Level.HOST}),
            kept_groups=probe.kept_groups if probe else (),
            drops_groups=probe.drops_groups if probe else frozenset(),
            environment=self._environ,
        )

    def _tell(self) -> None:
        """Log which level tasks get, what is not reached and why, and what an owner should know."""
        if self._probe is not None:
            for level, result in self._probe.results.items():
                if not result.reached:
                    log.info("level %s is not reached: %s", level, result.because)
        if isinstance(self._level, LevelChoice):
            log.info("tasks run at level %s (%s)", self._level.level, self._level.because)
        else:
            log.warning("tasks are refused: %s", self._level.reason)
        if warning := root_opt_in_warning(self._policy, self._host_state()):
            log.warning("%s", warning)


def agent_command() -> str:
    """Absolute path of the ``lattice-agent`` command that tasks may call (trap 10)."""
    beside = Path(sys.executable).parent / "lattice-agent"
    return str(beside) if beside.exists() else shutil.which("lattice-agent") or str(beside)


def _selfcheck_environment(plane: ControlPlaneSettings) -> tuple[tuple[str, str], ...]:
    """Server-made firewall scripts run the self-check inside a task; it must trust what the agent trusts."""
    ca_file = (("LATTICE_CA_FILE", str(plane.ca_file)),) if plane.ca_file is not None else ()
    pins = (("LATTICE_PIN_SHA256", ",".join(plane.pins)),) if plane.pins else ()
    return (*ca_file, *pins)
