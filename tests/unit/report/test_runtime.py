"""``agent_runtime``: only what is in force is named, and of that the most telling (protocol reference 4.3)."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.report.runtime import (
    AT_EVERY_LEVEL,
    HOST_FEATURES,
    ROOT_REFUSED,
    STRONGEST_FIRST,
    TELLING,
    describe_runtime,
    most_telling,
)
from lattice_agent.wire.runtime import FEATURES_KEPT, AgentRuntime

WARNING_BYTES = 240
FEATURE_BYTES = 64
STRICT = (
    "pid-namespace", "mount-namespace", "network-namespace", "ipc-namespace", "uts-namespace", "cgroup-namespace",
    "no-capabilities", "no-new-privileges", "seccomp-allowlist", "landlock-abi-7", "minimal-rootfs", "unique-uid",
    "tmpfs-workdir-limit", "memory-watch", "pids-limit", "own-session", "session-keyring",
)  # fmt: skip


def told(**changes: Any) -> AgentRuntime:
    switches: dict[str, Any] = {"allow_exec": True, "allow_root_exec": False, "no_exec": False, "uid": 1000}
    told = describe_runtime(
        **{**switches, **changes}, usage_file="", usage_url="", reported_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert len(told.task_sandbox_warning.encode()) <= WARNING_BYTES
    assert len(told.task_sandbox.encode()) <= 96
    assert len(set(told.task_sandbox_features)) == len(told.task_sandbox_features) <= FEATURES_KEPT
    assert list(told.task_sandbox_features) == sorted(told.task_sandbox_features)
    return told


ALL = STRONGEST_FIRST


@pytest.mark.parametrize(
    ("uid", "opted_in", "level", "reached", "expected"),
    [
        (1000, False, "strict", ALL, "strict"),
        (1000, False, "landlock", ("host", "landlock"), "landlock"),
        (1000, False, "host", ("host",), "host"),
        (1000, False, None, ("host",), "level-refused"),
        (0, False, "strict", ALL, "strict"),
        (0, False, "landlock", ("landlock", "host"), "landlock"),
        (0, False, None, ("host",), "root-refused"),
        (0, False, "host", ("host",), "root-refused"),
        (0, False, None, ALL, "level-refused"),
        (0, True, "host", ALL, "host"),
        (0, True, "strict", ALL, "strict"),
        (0, True, None, ("host",), "level-refused"),
    ],
)
def test_the_level_that_tasks_really_get(
    uid: int, opted_in: bool, level: str | None, reached: tuple[str, ...], expected: str
) -> None:
    assert told(uid=uid, allow_root_exec=opted_in, level=level, reached=reached).task_sandbox == expected


@pytest.mark.parametrize("off", [{"allow_exec": False}, {"no_exec": True}])
def test_with_execution_off_no_level_is_named(off: dict[str, bool]) -> None:
    runtime = told(**off, level="strict", reached=ALL, features=STRICT)
    assert (runtime.task_sandbox, runtime.task_sandbox_features) == ("disabled", ("exec-kill-switch",))


def test_callers_that_know_of_no_levels_describe_level_host() -> None:
    assert told().task_sandbox == "host"
    assert set(told().task_sandbox_features) == {*HOST_FEATURES, "non-root-agent"}
    assert set(told(uid=0, allow_root_exec=True).task_sandbox_features) == {*HOST_FEATURES}
    assert told(uid=0).task_sandbox_warning == ROOT_REFUSED


def test_in_a_cell_only_what_was_seen_to_hold_is_named_and_what_the_agent_does_itself() -> None:
    assert set(told(level="landlock", features=("seccomp-allowlist",)).task_sandbox_features) == {
        "seccomp-allowlist",
        *AT_EVERY_LEVEL,
    }
    assert not {"rlimit-as", "subreaper-sweep"} & set(told(level="strict", features=STRICT).task_sandbox_features)


def test_features_of_a_probe_are_not_named_at_level_host() -> None:
    assert not {*STRICT} & ({*told(level="host", features=STRICT).task_sandbox_features} - {*HOST_FEATURES})


def test_of_more_than_the_server_keeps_the_most_telling_are_named() -> None:
    features = told(level="strict", reached=ALL, features=STRICT).task_sandbox_features
    assert len(features) == FEATURES_KEPT
    assert {"pid-namespace", "unique-uid", "seccomp-allowlist", "landlock-abi-7", "memory-watch", "timeout"} <= {
        *features
    }
    assert not {"cgroup-namespace", "own-session", "session-keyring"} & {*features}


@given(st.sets(st.sampled_from([*STRICT, *AT_EVERY_LEVEL, *(f"feature-{n}" for n in range(20))])))
def test_what_is_missing_is_never_cut(features: set[str]) -> None:
    kept = most_telling({*features, "shared-host-uid", "kept-supplementary-groups"})
    assert {"shared-host-uid", "kept-supplementary-groups"} <= {*kept}
    assert len(kept) == min(FEATURES_KEPT, len(features) + 2)


def test_features_fit_into_what_the_server_keeps_of_each() -> None:
    assert all(len(feature.encode()) <= FEATURE_BYTES for feature in (*TELLING, *HOST_FEATURES))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"level": "strict", "reached": ALL}, ""),
        ({"level": "network", "reached": ALL}, "host's network"),
        ({"level": "landlock", "reached": ("host", "landlock")}, "no namespaces"),
        ({"level": "host", "reached": ("host",)}, "can read what it can read"),
        ({"level": "host", "reached": ("host", "landlock", "strict")}, "reached here: strict, landlock"),
        ({"uid": 0, "allow_root_exec": True, "level": "host", "reached": ALL}, "run as root"),
        ({"level": None, "reached": ("host", "landlock")}, "of those reached here: landlock, host"),
    ],
)
def test_the_warning_says_what_the_level_does_not_give(changes: dict[str, Any], word: str) -> None:
    warning = told(**changes).task_sandbox_warning
    assert word in warning
    assert bool(word) == bool(warning)
