"""What is said of targets: with details and without, for any text that a node may send."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.wire.results import RunClock, RunDetail, RunOutcome
from server_stub.rules.base_endings import base_ending
from server_stub.rules.outcomes import (
    NO_FAILURES,
    OPEN_OUTCOMES,
    TEXT_BYTES,
    Ending,
    TargetOutcome,
    cancelled_by,
    counts_as_failure,
    describe,
    expired,
    lost,
    outcome_of_target,
    queue_deadline,
    stopped,
)
from server_stub.rules.results import Result
from server_stub.rules.run_endings import ending_of
from server_stub.rules.states import OPEN_STATES, Target, TargetState

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CUT = "stdout exceeded task output limit; output truncated"
BOTH_CUT = "stdout and stderr exceeded task output limit; output truncated"


def result(exit_code: int = 0, error: str = "", **detail: Any) -> Result:
    told = RunDetail(**detail) if detail else None
    return Result("t", "n", "lease", exit_code, "", "", error, NOW, NOW, told)


@pytest.mark.parametrize(
    ("exit_code", "error", "outcome", "text"),
    [
        (0, "", "succeeded", "succeeded"),
        (3, "exit status 3", "failed", "failed: exit code 3"),
        (3, "", "failed", "failed: exit code 3"),
        (3, f"exit status 3; {CUT}", "failed", "failed: exit code 3"),
        (0, CUT, "output_limit", "output limit: stdout cut; exit code 0"),
        (0, BOTH_CUT, "output_limit", "output limit: stdout and stderr cut; exit code 0"),
        (
            -1,
            "signal: segmentation fault (core dumped)",
            "failed",
            "failed: ended by a signal: segmentation fault (core dumped)",
        ),
        (-1, "signal: CPU time limit exceeded", "timed_out", "timed out: CPU clock"),
        (-1, "context deadline exceeded", "timed_out", "timed out: wall clock, 30 s"),
        (-1, f"context deadline exceeded; {CUT}", "timed_out", "timed out: wall clock, 30 s"),
        (-1, "context canceled", "cancelled", "cancelled by ops"),
        (-1, "cancelled by the control plane before it started", "cancelled", "cancelled by ops"),
        (
            -1,
            "signal: killed (memory limit exceeded: more than 512 MiB)",
            "memory_limit",
            "memory limit: more than 512 MiB",
        ),
        (
            *(-1, "agent task execution disabled; restart with -allow-exec=true to enable", "refused"),
            "refused by the node: agent task execution disabled; restart with -allow-exec=true to enable"
            " (rule exec_disabled)",
        ),
        (
            -1,
            "interpreter not found: node",
            "refused",
            "refused by the node: interpreter not found: node (rule interpreter_missing)",
        ),
        (
            -1,
            "fork/exec /bin/sh: resource temporarily unavailable",
            "not_started",
            "not started: fork/exec /bin/sh: resource temporarily unavailable",
        ),
        (
            -1,
            "interrupted: the agent ended while the task ran",
            "interrupted",
            "interrupted: the agent ended while the task ran",
        ),
        (
            -1,
            "lost: the task ran, but its result was dropped",
            "lost",
            "lost: the task ran, but its result was dropped",
        ),
        (-1, "the moon is full", "failed", "failed: the moon is full"),
    ],
)
def test_without_details_the_texts_of_the_base_wire_are_read(
    exit_code: int, error: str, outcome: str, text: str
) -> None:
    ending = base_ending(exit_code, error, 30, "ops")
    assert (ending.outcome, ending.text) == (outcome, text)


@pytest.mark.parametrize(
    ("error", "rule"),
    [
        ("agent task execution disabled; restart with -allow-exec=true to enable", "exec_disabled"),
        ("refusing to execute task as root; restart with -allow-root-exec=true to opt in", "root"),
        ("interpreter is not allowlisted by this node's policy: node", "interpreter"),
        ("interpreter not found inside a cell of level strict: node is /opt/node", "interpreter_missing"),
        ("refusing to replace this agent by the Go agent", "agent_replacement"),
        ("script header (line 3) is empty", "request"),
        ("script has 70000 bytes; this agent takes at most 65536", "request"),
        ("script is not valid Unicode", "request"),
        ("only scripts that this node's policy lists run here, and this one is not among them", "script"),
        ("this node's policy forbids this script: sha256 ab", "script"),
        ("this node's policy lists this script for sh, not for bash", "script"),
        ("this node's policy demands level network", "level"),
        ("this node does not reach level strict", "level"),
        ("the script asks for level host, which is not given for the asking", "level"),
        ("level strict is forbidden here", "level"),
        ("scripts would keep the agent's supplementary groups 4", "level"),
    ],
)
def test_every_refusal_of_our_agent_is_known_by_how_it_begins(error: str, rule: str) -> None:
    assert base_ending(-1, error, 30, "") == Ending(
        TargetOutcome.REFUSED, f"refused by the node: {error} (rule {rule})"
    )
    assert base_ending(-1, f"because {error}", 30, "").outcome is TargetOutcome.FAILED


@pytest.mark.parametrize("call", ["fork/exec", "exec", "mkdir", "open", "write", "chmod", "chown", "cgroup"])
def test_an_error_of_a_file_or_a_process_means_that_nothing_ran_unless_it_has_an_exit_code(call: str) -> None:
    error = f"{call} /tmp/x:\nno"
    assert base_ending(-1, error, 30, "") == Ending(TargetOutcome.NOT_STARTED, f"not started: {call} /tmp/x:no")
    assert base_ending(1, error, 30, "").outcome is TargetOutcome.FAILED
    assert base_ending(-1, f"{call}ed /tmp/x: no", 30, "").outcome is TargetOutcome.FAILED


def test_an_exit_code_says_more_than_a_cut_stream() -> None:
    assert base_ending(3, CUT, 30, "") == Ending(TargetOutcome.FAILED, "failed: exit code 3")
    assert base_ending(-1, f"two\nlines; {CUT}", 30, "") == Ending(TargetOutcome.FAILED, "failed: twolines")
    assert base_ending(-1, "exit status 3", 30, "").text == "failed: exit code 3"
    assert base_ending(7, "exit status 3 or so", 30, "").text == "failed: exit status 3 or so"


@pytest.mark.parametrize(
    ("sent", "outcome", "text"),
    [
        (result(outcome="succeeded"), "succeeded", "succeeded"),
        (result(3, "exit status 3", outcome="failed", killed=1), "failed", "failed: exit code 3; 1 process killed"),
        (
            *(result(-1, "signal: killed", outcome="failed", signal=9), "failed"),
            "failed: ended by signal 9 (killed)",
        ),
        (
            *(result(-1, "context deadline exceeded", outcome="timed_out", clock="wall", wall_ms=30_020), "timed_out"),
            "timed out: wall clock, 30 s",
        ),
        (
            *(
                result(
                    -1,
                    "context deadline exceeded",
                    outcome="timed_out",
                    clock="wall",
                    wall_ms=5_020,
                    grace_expired=True,
                    grace_ms=2_010,
                ),
                "timed_out",
            ),
            "timed out: wall clock, 5 s; killed after a grace of 2 s",
        ),
        (
            *(
                result(-1, "signal: CPU time limit exceeded", outcome="timed_out", clock="cpu", cpu_ms=35_100),
                "timed_out",
            ),
            "timed out: CPU clock, 35.1 s of CPU time",
        ),
        (
            *(result(-1, "too old", outcome="timed_out", clock="queued", queued_ms=340_000), "timed_out"),
            "timed out: queued clock, it waited 340 s on the node",
        ),
        (
            *(result(-1, "context canceled", outcome="cancelled", wall_ms=2_100, killed=3), "cancelled"),
            "cancelled by ops after 2.1 s; 3 processes killed",
        ),
        (result(-1, "x", outcome="cancelled"), "cancelled", "cancelled by ops before it started"),
        (
            *(result(0, CUT, outcome="output_limit", stdout_bytes=70_000), "output_limit"),
            "output limit: 70000 bytes of stdout and 0 of stderr; exit code 0",
        ),
        (
            result(-1, "x", outcome="memory_limit", reason="more than 5 MiB"),
            "memory_limit",
            "memory limit: more than 5 MiB",
        ),
        (
            *(result(-1, "only listed scripts run", outcome="refused", rule="script"), "refused"),
            "refused by the node: only listed scripts run (rule script)",
        ),
        (result(-1, "no memory", outcome="not_started"), "not_started", "not started: no memory"),
        (
            *(result(-1, "x", outcome="interrupted", reason="the spawner ended"), "interrupted"),
            "interrupted: the spawner ended; whether it completed is not known",
        ),
        (
            *(result(-1, "interrupted: the agent ended; it is not known", outcome="interrupted"), "interrupted"),
            "interrupted: the agent ended; it is not known",
        ),
        (
            *(result(-1, "signal: ", outcome="failed", signal=40, lingering=2, uncertain=True), "failed"),
            "failed: ended by signal 40; 2 left running on purpose; processes of it may be alive",
        ),
        (
            *(result(-1, "signal: killed; stdout was cut", outcome="failed", signal=9, killed=1), "failed"),
            "failed: ended by signal 9 (killed); 1 process killed",
        ),
        (result(-1, "why", outcome="failed", reason="more"), "failed", "failed: more"),
        (result(-1, "why", outcome="failed"), "failed", "failed: why"),
        (result(0, "odd", outcome="failed"), "failed", "failed: exit code 0"),
        (
            *(result(-1, "x", outcome="timed_out", clock="wall", wall_ms=29_000, grace_expired=True), "timed_out"),
            "timed out: wall clock, 29 s; killed after a grace of 0 s",
        ),
        (
            *(result(-1, "x", outcome="timed_out", clock="wall", wall_ms=30_000), "timed_out"),
            "timed out: wall clock, 30 s",
        ),
        (result(-1, "x", outcome="timed_out", clock="wall"), "timed_out", "timed out: wall clock, 30 s"),
        (
            *(result(-1, "x", outcome="timed_out", clock="wall", wall_ms=1, grace_ms=9), "timed_out"),
            "timed out: wall clock, 0 s",
        ),
        (
            *(result(-1, "x", outcome="timed_out"), "timed_out"),
            "timed out: the node did not say which clock",
        ),
        (result(-1, "x", outcome="timed_out", clock="sun", reason="dusk"), "timed_out", "timed out: dusk"),
        (result(-1, "x", outcome="cancelled", wall_ms=1), "cancelled", "cancelled by ops after 0 s"),
        (result(-1, "why", outcome="refused"), "refused", "refused by the node: why"),
        (result(-1, "why", outcome="memory_limit"), "memory_limit", "memory limit: why"),
        (
            *(result(-1, CUT, outcome="output_limit", stderr_bytes=9), "output_limit"),
            "output limit: 0 bytes of stdout and 9 of stderr; exit code 0",
        ),
        (result(-1, "woke up", outcome="dreamt"), "failed", "failed: dreamt: woke up"),
        (result(4, "", outcome="dreamt"), "failed", "failed: dreamt: exit code 4"),
        (result(0, "", outcome="dreamt"), "succeeded", "succeeded"),
        (result(0, "", outcome="refused"), "succeeded", "succeeded"),
        (result(1, "exit status 1", outcome="succeeded"), "failed", "failed: exit code 1"),
        (result(1, "", reason="no word"), "failed", "failed: exit code 1"),
    ],
)
def test_details_are_told_unless_they_contradict_the_result(sent: Result, outcome: str, text: str) -> None:
    ending = ending_of(sent, 30, "ops")
    assert (ending.outcome, ending.text) == (outcome, text)


def test_nobody_is_named_who_did_not_ask() -> None:
    assert ending_of(result(-1, "context canceled"), 30).text == "cancelled on the node"
    assert ending_of(result(-1, "x", outcome="cancelled"), 30).text == "cancelled on the node before it started"


@pytest.mark.parametrize(
    ("target", "outcome", "text"),
    [
        (Target("t", "n", TargetState.QUEUED), "queued", "queued"),
        (Target("t", "n", TargetState.LEASED), "leased", "leased"),
        (
            *(Target("t", "n", TargetState.QUEUED, cancel_requested_at=NOW, cancel_requested_by="ops"), "queued"),
            "queued; cancel requested by ops",
        ),
        (Target("t", "n", TargetState.LEASED, running_since=NOW), "running", "running"),
        (
            *(Target("t", "n", TargetState.LEASED, cancel_requested_at=NOW, cancel_requested_by="ops"), "leased"),
            "leased; cancel requested by ops",
        ),
        (Target("t", "n", TargetState.REPORTED, outcome="timed_out", reason="why"), "timed_out", "why"),
        (Target("t", "n", TargetState.LOST, outcome="output_limit"), "output_limit", "output limit"),
        (Target("t", "n", TargetState.REPORTED, outcome="odd", reason="r" * 600), "succeeded", "r" * 512),
        # as they were left by a version that kept no outcomes
        (Target("t", "n", TargetState.REPORTED), "succeeded", "succeeded"),
        (Target("t", "n", TargetState.REPORTED, failed=True), "failed", "failed"),
        (Target("t", "n", TargetState.LOST), "lost", "lost"),
        (Target("t", "n", TargetState.CANCELLED), "cancelled", "cancelled"),
        (Target("t", "n", TargetState.EXPIRED), "timed_out", "timed out"),
    ],
)
def test_every_target_has_a_word_and_a_sentence(target: Target, outcome: str, text: str) -> None:
    ending = describe(target)
    assert (ending.outcome, ending.text) == (outcome, text)


def test_ends_without_a_result() -> None:
    asked = Target("t", "n", TargetState.LEASED, 1, cancel_requested_at=NOW, cancel_requested_by="ops")
    assert lost(asked).text == ("lost: cancel requested by ops, but the node never confirmed; unknown whether it ran")
    once = Target("t", "n", TargetState.LEASED, 1)
    assert lost(once) == Ending(TargetOutcome.LOST, "lost: no result after 1 lease; unknown whether it ran")
    ran = Target("t", "n", TargetState.LEASED, 5, running_since=NOW)
    assert lost(ran).text == "lost: no result after 5 leases; it ran, whether it completed is unknown"
    late = "timed out: queued clock, 60 s; it was never handed out"
    assert expired(60) == Ending(TargetOutcome.TIMED_OUT, late)
    assert stopped(1) == Ending(TargetOutcome.CANCELLED, "stopped after 1 failure")
    assert stopped(2) == Ending(TargetOutcome.CANCELLED, "stopped after 2 failures")
    assert cancelled_by("ops") == Ending(TargetOutcome.CANCELLED, "cancelled by ops before it was handed out")


def test_the_queued_clock_fires_after_its_seconds_or_never() -> None:
    assert [queue_deadline(NOW, seconds) for seconds in (60, 1, 0, -1)] == [
        *(NOW + timedelta(seconds=60), NOW + timedelta(seconds=1)),
        *(None, None),
    ]


def test_the_words_of_the_closed_set_and_which_of_them_count_as_failures() -> None:
    counted = {
        **dict.fromkeys(("queued", "leased", "running", "succeeded", "cancelled", "output_limit"), False),
        **dict.fromkeys(("failed", "timed_out", "memory_limit", "refused", "not_started"), True),
        **dict.fromkeys(("interrupted", "lost"), True),
    }
    assert {str(outcome) for outcome in TargetOutcome} == set(counted)
    for word, counts in counted.items():
        assert counts_as_failure(Target("t", "n", TargetState.REPORTED, outcome=word)) is counts, word


@given(
    st.integers(-(2**63), 2**63 - 1),
    st.text(max_size=2_000),
    st.none()
    | st.builds(
        RunDetail,
        outcome=st.sampled_from([*RunOutcome, ""]) | st.text(max_size=600),
        reason=st.text(max_size=2_000),
        rule=st.text(max_size=600),
        clock=st.sampled_from([*RunClock, ""]) | st.text(max_size=20),
        signal=st.integers(-(2**63), 2**63 - 1),
        wall_ms=st.integers(0, 2**64 - 1),
        cpu_ms=st.integers(0, 2**64 - 1),
        killed=st.integers(0, 2**64 - 1),
        grace_expired=st.booleans(),
        uncertain=st.booleans(),
    ),
)
def test_whatever_a_node_says_is_one_outcome_and_a_bounded_line(
    exit_code: int, error: str, detail: RunDetail | None
) -> None:
    sent = Result("t", "n", "lease", exit_code, "", "", error, None, NOW, detail)
    ending = ending_of(sent, 30, "ops")
    assert ending.outcome in set(TargetOutcome) - OPEN_OUTCOMES
    assert (ending.outcome == TargetOutcome.SUCCEEDED) == (not sent.failed)
    assert len(ending.text.encode()) <= TEXT_BYTES
    assert ending.text.isprintable()


@given(
    st.builds(
        Target,
        st.just("t"),
        st.just("n"),
        st.sampled_from(TargetState),
        attempts=st.integers(0, 9),
        failed=st.booleans(),
        running_since=st.none() | st.just(NOW),
        cancel_requested_at=st.none() | st.just(NOW),
        outcome=st.sampled_from(["", *(TargetOutcome)]) | st.text(max_size=9),
        reason=st.text(max_size=600),
    )
)
def test_outcomes_are_total(target: Target) -> None:
    ending = describe(target)
    assert ending.outcome is outcome_of_target(target)
    assert len(ending.text.encode()) <= TEXT_BYTES
    if target.state in OPEN_STATES:
        assert ending.outcome in OPEN_OUTCOMES
        assert ending.outcome in NO_FAILURES
