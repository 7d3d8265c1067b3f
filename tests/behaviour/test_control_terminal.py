"""``lattice-control`` on a real terminal: hostile output, the bar, a password that is not seen."""

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.rigs.hostile_output import CORPUS, LARGE, MARKER
from tests.rigs.terminal import assert_only_text_and_colours, on_terminal
from tests.unit.server_stub_cli.rig import PROGRAM, TOKEN, Asked, FakeApi, Reply, events, fake_api, piece, reply

CHUNK = 12_288
MEMORY_LIMIT = 120 * 2**20
"""Bytes of a process's data; with httpx loaded it has about half of that."""
TASK: dict[str, Any] = {"id": "task_1", "nodes": ["n1"], "status": "queued"}
ENDED = TASK | {"targets": [{"node_id": "n1", "outcome": "running"}]}


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with fake_api() as fake:
        yield fake


def environment(api: FakeApi) -> dict[str, str]:
    return os.environ | {"LATTICE_CONTROL_SERVER": api.url, "LATTICE_CONTROL_TOKEN": TOKEN}


def streaming(output: bytes, size: int, result: str | None) -> Reply:
    """``output`` in pieces, the streams by turns, and the result."""
    told: list[tuple[str, object]] = []
    offsets = {"stdout": 0, "stderr": 0}
    for number, start in enumerate(range(0, len(output), size)):
        name = ("stdout", "stderr")[number % 2 if result is None else 0]
        data = output[start : start + size]
        told.append(piece(name, offsets[name], data, start))
        offsets[name] += len(data)
    end = {"node_id": "n1", "outcome": "succeeded", "text": "succeeded", "stdout": result or ""}
    return events(*told, ("result", {"result": end}) if result is not None else ("end", {"outcome": "lost"}))


def following(api: FakeApi, output: Reply, *options: str) -> list[str]:
    def answer(asked: Asked) -> Reply:
        return events(("task", ENDED)) if asked.path.endswith("/events") else output

    api.answer = answer
    return [*PROGRAM, "task", "output", "task_1", "--follow", *options]


@pytest.mark.long
@pytest.mark.parametrize("size", [1, 7, CHUNK])
def test_the_whole_corpus_live_leaves_text_and_colours(api: FakeApi, size: int) -> None:
    output = b"".join(case + b"\n" for name, case in CORPUS.items() if size > 1 or len(case) < 1000)
    text = output.decode("utf-8", "replace")

    with on_terminal(following(api, streaming(output, size, text)), environment(api)) as terminal:
        assert terminal.end() == 0

    shown = assert_only_text_and_colours(bytes(terminal.screen))
    assert shown.count(MARKER) == output.count(MARKER.encode())
    assert b"\x1b[31mred\x1b[0m" in terminal.screen
    assert "\\x1b[2J" in shown
    assert "\\x1b]52;c;" in shown
    assert "\\u202e" in shown
    assert terminal.screen.rstrip().endswith(b"task task_1 on n1: succeeded")


@pytest.mark.long
def test_without_colours_no_escape_reaches_the_terminal(api: FakeApi) -> None:
    output = b"\n".join(CORPUS.values())

    with on_terminal(following(api, streaming(output, 5, None), "--color", "never"), environment(api)) as terminal:
        assert terminal.end() == 1

    assert_only_text_and_colours(bytes(terminal.screen))
    assert b"\x1b" not in terminal.screen


@pytest.mark.long
@pytest.mark.parametrize("name", LARGE)
def test_more_than_any_limit_neither_hangs_nor_grows(api: FakeApi, name: str) -> None:
    """A server that does not keep to the output limit, either."""
    output = LARGE[name]()
    kept = output[:262_144].decode("utf-8", "ignore")
    limits = f"import resource; resource.setrlimit(resource.RLIMIT_DATA, ({MEMORY_LIMIT}, {MEMORY_LIMIT}));"
    command = following(api, streaming(output, CHUNK, kept))
    command = [sys.executable, "-c", limits + command[2], *command[3:]]

    with on_terminal(command, environment(api)) as terminal:
        assert terminal.end() == 0

    shown = assert_only_text_and_colours(bytes(terminal.screen))
    assert shown.endswith("task task_1 on n1: succeeded\n")


@pytest.mark.long
def test_a_task_on_many_nodes_has_a_bar_that_is_gone_at_the_end(api: FakeApi) -> None:
    def at(ended: int) -> dict[str, Any]:
        done = {"outcome": "cancelled", "state": "cancelled", "text": "cancelled by ada\x1b[2J"}
        targets = [{"node_id": f"n{n}"} | (done if n < ended else {"outcome": "queued"}) for n in range(10)]
        return TASK | {"nodes": [f"n{n}" for n in range(10)], "targets": targets}

    api.answers(
        reply({"task": at(0)}),
        events(*(("task", at(ended)) for ended in (0, 3, 7)), ("end", at(10) | {"outcomes": {"cancelled": 10}})),
    )
    run = [*PROGRAM, "task", "rerun", "task_0", "--follow"]

    with on_terminal(run, environment(api), columns=60) as terminal:
        assert terminal.end() == 1

    shown = assert_only_text_and_colours(bytes(terminal.screen), bar=True)
    assert "[##############------] 7 of 10 ended: 7 cancelled, 3 queu" in shown
    assert shown.count("== n") == 10
    assert terminal.screen.endswith(b"\r\x1b[Ktask task_1 queued: 10 cancelled\r\n")


def test_an_interrupt_says_how_to_look_and_how_to_cancel(api: FakeApi) -> None:
    broken = events(piece("stdout", 0, b"\x1b[31mso far"))  # asked for again and again
    with on_terminal(following(api, broken), environment(api)) as terminal:
        terminal.wait_for(b"so far")
        terminal.press(b"\x03")
        assert terminal.end() == 130

    assert bytes(terminal.screen).splitlines()[-3:] == [
        b"task task_1 goes on; see it with lattice-control task show task_1",
        b"to end it: lattice-control task cancel task_1",
        b"lattice-control: interrupted",
    ]
    assert [asked.method for asked in api.asked if asked.method != "GET"] == []


@pytest.mark.long
def test_a_password_is_asked_for_twice_and_never_seen(api: FakeApi) -> None:
    command = [*PROGRAM, "operator", "password", "ada"]
    with on_terminal(command, environment(api)) as terminal:
        terminal.wait_for(b"new password")
        terminal.press(b"correct horse battery\n")
        terminal.wait_for(b"the same again")
        terminal.press(b"correct horse battery\n")
        assert terminal.end() == 0
    with on_terminal(command, environment(api)) as other:
        other.wait_for(b"new password")
        other.press(b"correct horse battery\n")
        other.wait_for(b"the same again")
        other.press(b"another horse battery\n")
        assert other.end() == os.EX_DATAERR

    assert b"horse" not in terminal.screen + other.screen
    assert [asked.body for asked in api.asked] == [{"password": "correct horse battery"}]
