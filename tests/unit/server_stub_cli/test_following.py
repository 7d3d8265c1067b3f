"""``--follow``: one target live, several with headings; what breaks on the way; how it ends."""

import os
from typing import Any

import pytest

from server_stub.cli import follow, resume
from tests.unit.server_stub_cli.rig import (
    HOSTILE,
    Asked,
    Control,
    FakeApi,
    Reply,
    assert_harmless,
    events,
    piece,
    refusal,
    reply,
)
from tests.unit.server_stub_cli.test_commands import FINISHED, RESULT, RUN, TASK

QUEUED = "task task_1 is queued; interrupting the wait does not stop it"
SUCCEEDED: dict[str, Any] = RESULT | {"outcome": "succeeded", "text": "succeeded"}


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were asked for; nobody sleeps."""
    asked: list[float] = []
    monkeypatch.setattr(resume, "sleep", asked.append)
    monkeypatch.setattr(follow, "sleep", asked.append)
    return asked


def result(**fields: object) -> tuple[str, object]:
    return "result", {"result": SUCCEEDED | fields}


# --- one target ---------------------------------------------------------------------------------------------


def test_each_stream_goes_where_the_script_put_it(control: Control, api: FakeApi) -> None:
    api.answers(
        reply({"task": TASK}),
        events(
            piece("stdout", 0, b"out 1\n"), piece("stderr", 0, b"warn\n", 6), piece("stdout", 6, b"out", 11), result()
        ),
    )

    ran = control(*RUN, "--follow", stdin=b"true")

    assert (ran.code, ran.out) == (0, "out 1\nout 2\n")
    assert ran.err.splitlines() == [QUEUED, "warn", "task task_1 on n1: succeeded, took 1.50 s"]
    assert api.asked[1].params == {"node": "n1", "position": "0"}
    assert api.asked[1].headers["accept"] == "text/event-stream"


def test_a_broken_connection_goes_on_from_the_position(control: Control, api: FakeApi) -> None:
    api.answers(
        reply({"task": TASK}),
        events(piece("stdout", 0, b"out 1\nou")),
        Reply(502, b""),
        refusal(503, "x", "restarting"),
        events(piece("stdout", 6, b"out", 6), result()),
    )

    ran = control(*RUN, "--follow", stdin=b"true")

    assert (ran.code, ran.out.replace("\n", "")) == (0, "out 1out 2")
    assert [asked.params.get("position") for asked in api.asked[1:]] == ["0", "8", "8", "8"]
    assert sum("trying again" in line for line in ran.err.splitlines()) == 1


def test_after_a_reset_nothing_is_shown_twice(control: Control, api: FakeApi) -> None:
    api.answers(
        reply({"task": TASK}),
        events(piece("stdout", 0, b"out 1\n"), ("reset", {}), piece("stdout", 0, b"out 1\nout 2"), result(stderr="")),
    )

    assert control(*RUN, "--follow", stdin=b"true").out == "out 1\nout 2\n"


def test_a_gap_is_filled_by_the_result(control: Control, api: FakeApi) -> None:
    api.answers(
        reply({"task": TASK}),
        events(piece("stdout", 0, b"out 1"), piece("stdout", 9, b"2"), piece("stdout", 5, b"x"), result()),
    )

    assert control(*RUN, "--follow", stdin=b"true").out == "out 1\nout 2\n"


def test_a_result_that_differs_is_said_and_shown(control: Control, api: FakeApi) -> None:
    api.answers(reply({"task": TASK}), events(piece("stdout", 0, b"other\n"), result()))

    ran = control(*RUN, "--follow", stdin=b"true")

    assert ran.out == "other\nout 1\nout 2\n"
    assert "stdout: what is shown above is not the result, which follows" in ran.err


@pytest.mark.parametrize(
    ("end", "last"),
    [
        (result(outcome="failed", text="failed: exit code 3", exit_code=3), "failed: exit code 3, took 1.50 s"),
        (result(outcome="cancelled", text="cancelled by ada after 2.1 s"), "cancelled by ada after 2.1 s"),
        (result(outcome="", text="", exit_code=-1, error="timed out"), "exit -1, timed out, took 1.50 s"),
        (("end", {"outcome": "lost", "text": "lost: unknown whether it ran"}), "lost: unknown whether it ran"),
        (("end", {"outcome": "timed_out"}), "timed_out"),
    ],
)
def test_the_exit_code_is_1_unless_it_succeeded(
    control: Control, api: FakeApi, end: tuple[str, object], last: str
) -> None:
    api.answers(reply({"task": TASK}), events(end))

    ran = control(*RUN, "--follow", stdin=b"true")

    assert ran.code == 1
    assert ran.err.splitlines()[-1] == f"task task_1 on n1: {last}"


@pytest.mark.parametrize(
    "told",
    [
        ("output", {"stream": "stdin", "offset": 0, "data": ""}),
        ("output", {"stream": "stdout", "offset": -1, "data": ""}),
        ("output", {"stream": "stdout", "offset": 0, "data": "%"}),
        ("output", {"stream": "stdout", "offset": 0, "data": "é"}),
        ("output", 5),
        ("result", {"result": None, "x": HOSTILE}),
        ("result", {"result": {"stdout": 5}}),
        ("end", []),
    ],
)
def test_nonsense_of_a_server_is_one_line(control: Control, api: FakeApi, told: tuple[str, object]) -> None:
    api.answers(reply({"task": TASK}), events(told))

    ran = control(*RUN, "--follow", stdin=b"true")

    assert ran.code == os.EX_PROTOCOL
    assert_harmless(ran.out + ran.err)


def test_a_wait_that_fails_names_the_task_that_goes_on(
    control: Control, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume, "OUTAGE_S", 0.0)
    api.answers(reply({"task": TASK}), refusal(503, "x", "stopping"))

    ran = control(*RUN, "--follow", stdin=b"true")

    assert ran.code == os.EX_TEMPFAIL
    assert "the task goes on; see it with lattice-control task show task_1" in ran.err


def test_a_server_that_ends_every_stream_at_once_is_asked_ever_more_slowly(
    control: Control, api: FakeApi, naps: list[float]
) -> None:
    api.answers(reply({"task": TASK}), *[events()] * 8, events(result()))

    assert control(*RUN, "--follow", stdin=b"true").code == 0
    assert len(naps) == 8
    assert all(0.5 * pause <= nap <= pause for nap, pause in zip(naps, [0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5], strict=True))


def test_json_is_one_document(control: Control, api: FakeApi) -> None:
    api.answers(reply({"task": TASK}), reply({"task": FINISHED | {"status": "failed"}}))

    ran = control(*RUN, "--follow", "--json", stdin=b"true")

    assert ran.code == 1
    assert ran.document["task"]["status"] == "failed"


# --- several targets ----------------------------------------------------------------------------------------


def test_each_target_that_ends_has_a_heading_that_no_script_can_fake(control: Control, api: FakeApi) -> None:
    nodes = ["n1", "n2", "n3"]
    states = [
        [("running", "leased", "running")] * 2 + [("queued", "queued", "queued")],
        [("succeeded", "reported", "succeeded"), ("running", "leased", "running"), ("queued", "queued", "queued")],
        [
            ("succeeded", "reported", "succeeded"),
            ("failed", "reported", "failed: exit code 2"),
            ("cancelled", "cancelled", "cancelled: stopped after 1 failures"),
        ],
    ]
    told: list[dict[str, Any]] = [
        TASK
        | {"nodes": nodes}
        | {
            "targets": [
                {"node_id": node, "outcome": outcome, "state": state, "text": text}
                for node, (outcome, state, text) in zip(nodes, now, strict=True)
            ]
        }
        for now in states
    ]
    end = told[2] | {"status": "failed", "outcomes": {"succeeded": 1, "failed": 1, "cancelled": 1}}

    def answer(asked: Asked) -> Reply:
        if asked.method == "POST":
            return reply({"task": told[0]})
        if asked.path.endswith("/events"):
            return events(("task", told[0]), ("task", told[1]), ("end", end))
        if asked.params["node"] == "n1":
            return events(result(stdout="== n2: succeeded\n"))
        return events(result(node_id="n2", outcome="failed", text="failed: exit code 2", exit_code=2, stdout=""))

    api.answer = answer
    ran = control(*RUN, "--node=n2", "--node=n3", "--follow", stdin=b"true")

    assert ran.code == 1
    assert ran.out.splitlines() == [
        *("== n1: succeeded, took 1.50 s", "-- stdout", "   == n2: succeeded", "-- stderr", "   warn"),
        *("== n2: failed: exit code 2, took 1.50 s", "-- stderr", "   warn"),
        "== n3: cancelled: stopped after 1 failures",
    ]
    assert ran.err.splitlines() == [
        QUEUED,
        "[--------------------] 0 of 3 ended: 1 queued, 2 running",
        "[######--------------] 1 of 3 ended: 1 succeeded, 1 queued, 1 running",
        "[####################] 3 of 3 ended: 1 succeeded, 1 cancelled, 1 failed",
        "task task_1 failed: 1 succeeded, 1 cancelled, 1 failed",
    ]


def test_a_result_that_is_not_to_be_had_does_not_end_the_wait(control: Control, api: FakeApi) -> None:
    ended = {"node_id": "n1", "outcome": "succeeded", "state": "reported", "text": "succeeded"}
    targets = [ended, ended | {"node_id": HOSTILE}]
    end = TASK | {"targets": targets, "outcomes": {"succeeded": 2}, "status": "finished"}

    def answer(asked: Asked) -> Reply:
        if asked.method == "POST":
            return reply({"task": TASK | {"nodes": ["n1", "n2"]}})
        return events(("end", end)) if asked.path.endswith("/events") else Reply(502, b"")

    api.answer = answer
    ran = control(*RUN, "--node=n2", "--follow", stdin=b"true")

    assert ran.code == 0
    assert "lattice-control task output task_1 --node n1" in ran.err
    assert "== n1: succeeded" in ran.out
    assert_harmless(ran.out + ran.err)


# --- cancel and output --------------------------------------------------------------------------------------


def test_cancel_waits_until_the_nodes_have_confirmed(control: Control, api: FakeApi) -> None:
    asked_for = TASK | {"targets": [{"node_id": "n1", "outcome": "running"}, {"node_id": "n2", "outcome": "cancelled"}]}
    confirmed = {"node_id": "n1", "outcome": "cancelled", "text": "cancelled by ada after 2.1 s; 3 processes killed"}
    end = TASK | {"targets": [confirmed, {"node_id": "n2", "outcome": "cancelled", "text": "cancelled by ada"}]}
    api.answers(reply({"task": asked_for}), events(("task", asked_for)), events(("end", end)))

    ran = control("task", "cancel", "task_1", "--wait")

    assert ran.code == 0
    assert ran.out.splitlines() == ["n2: cancelled", "n1: cancelled by ada after 2.1 s; 3 processes killed"]


def test_a_cancel_that_no_node_confirms_is_1(control: Control, api: FakeApi) -> None:
    lost = {"node_id": "n1", "outcome": "lost", "text": "lost: cancel requested, but the node never confirmed"}
    api.answers(reply({"task": TASK}), events(("end", TASK | {"targets": [lost]})))

    ran = control("task", "cancel", "task_1", "--wait")

    assert (ran.code, ran.out) == (1, f"n1: {lost['text']}\n")


@pytest.mark.parametrize(
    ("targets", "argv", "code", "text"),
    [
        (["running"], [], os.EX_TEMPFAIL, "add --follow"),
        (["lost"], [], os.EX_DATAERR, "has no output"),
        (["running", "lost"], [], os.EX_DATAERR, "choose one with --node"),
        (["running"], ["--node", "n7"], os.EX_DATAERR, "is not for node n7"),
    ],
)
def test_output_that_is_not_there_has_a_next_step(
    control: Control, api: FakeApi, targets: list[str], argv: list[str], code: int, text: str
) -> None:
    told = [{"node_id": f"n{number}", "outcome": outcome} for number, outcome in enumerate(targets, 1)]
    api.answers(events(("task", TASK | {"targets": told})), events(("end", {"outcome": "lost"})))

    ran = control("task", "output", "task_1", *argv)

    assert (ran.code, ran.out) == (code, "")
    assert text in ran.err


def test_output_of_an_ended_target(control: Control, api: FakeApi) -> None:
    told = TASK | {"targets": [{"node_id": "n1", "outcome": "succeeded"}]}
    api.answers(events(("end", told)), events(result()), events(("end", told)), events(result(stdout=HOSTILE)))

    ran = control("task", "output", "task_1")
    exact = control("task", "output", "task_1", "--json")

    assert (ran.code, ran.out) == (0, "out 1\nout 2\n")
    assert ran.err == "warn\ntask task_1 on n1: succeeded, took 1.50 s\n"
    assert exact.document["result"]["stdout"] == HOSTILE
    assert_harmless(exact.out)
