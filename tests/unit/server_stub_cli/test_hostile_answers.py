"""Every field of every answer may be chosen by a node, a script, or a server that is not ours."""

import os
from collections.abc import Mapping
from datetime import datetime
from types import UnionType
from typing import Annotated, Any, get_args, get_origin

import pytest

from lattice_agent.wire.base import WireModel
from server_stub.cli import answers, task_answers
from tests.unit.server_stub_cli.rig import (
    HOSTILE,
    NODE_TOKEN,
    Asked,
    Control,
    FakeApi,
    Reply,
    assert_harmless,
    events,
    piece,
    reply,
)

COMMANDS: list[tuple[type[WireModel], tuple[str, ...]]] = [
    (answers.NodeList, ("node", "list")),
    (answers.NodeAnswer, ("node", "show", "n1")),
    (answers.NodeAnswer, ("node", "add", "n1")),
    (answers.UserAnswer, ("user", "add", "u1")),
    (answers.UserAnswer, ("user", "show", "u1")),
    (answers.UserAnswer, ("user", "set", "u1", "--enable")),
    (answers.UserAnswer, ("user", "set-quota", "u1", "5")),
    (answers.UserList, ("user", "list")),
    (task_answers.TaskAnswer, ("task", "show", "t1")),
    (task_answers.TaskAnswer, ("task", "run", "-", "--node", "n1", "--interpreter", "sh")),
    (task_answers.TaskAnswer, ("task", "cancel", "t1")),
    (task_answers.TaskAnswer, ("task", "rerun", "t1")),
    (task_answers.PreviewAnswer, ("task", "preview", "-", "--node", "n1", "--interpreter", "sh")),
    (task_answers.TaskList, ("task", "list")),
    (answers.UsageAnswer, ("usage", "show")),
    (answers.UsageAnswer, ("usage", "show", "--format", "csv")),
    (answers.BookingList, ("usage", "show", "--by", "day")),
    (answers.BookingList, ("usage", "show", "--by", "day", "--format", "csv")),
    (answers.AuditList, ("audit",)),
    (answers.NodeAnswer, ("node", "tag", "n1")),
    (answers.OperatorList, ("operator", "list")),
    (answers.OperatorAnswer, ("operator", "add", "ada")),
]


@pytest.mark.parametrize(("model", "argv"), COMMANDS, ids=[" ".join(argv) for _, argv in COMMANDS])
def test_hostile_text_in_every_field_is_shown_and_harmless(
    control: Control, api: FakeApi, model: type[WireModel], argv: tuple[str, ...]
) -> None:
    api.answers(reply(filled(model) | {"token": NODE_TOKEN}))

    ran = control(*argv, stdin=b"true")

    assert ran.code in {os.EX_OK, 1}
    assert_harmless(ran.out + ran.err)
    assert "\\x1b]0;owned" in ran.out + ran.err


@pytest.mark.parametrize("nodes", [["n1"], ["n1", "n2"]])
@pytest.mark.parametrize(
    "argv",
    [("task", "rerun", "t1", "--follow"), ("task", "cancel", "t1", "--wait"), ("task", "output", "t1", "--follow")],
)
def test_hostile_text_in_every_event_is_shown_and_harmless(
    control: Control, api: FakeApi, argv: tuple[str, ...], nodes: list[str]
) -> None:
    task = filled(task_answers.Task) | {"nodes": nodes}
    task["targets"] = [task["targets"][0] | {"state": "reported", "node_id": node} for node in nodes]

    def answer(asked: Asked) -> Reply:
        if asked.method == "POST":
            return reply({"task": task})
        if asked.path.endswith("/events"):
            return events((HOSTILE.replace("\n", "").replace("\r", ""), {}), ("task", task), ("end", task))
        return events(piece("stdout", 0, HOSTILE.encode()), ("result", {"result": filled(task_answers.Result)}))

    api.answer = answer
    ran = control(*argv, "--node=n1") if argv[1] == "output" else control(*argv)

    assert ran.code in {os.EX_OK, 1}
    assert_harmless(ran.out + ran.err)
    assert "\\x1b]0;owned" in ran.out + ran.err


@pytest.mark.parametrize(("model", "argv"), COMMANDS, ids=[" ".join(argv) for _, argv in COMMANDS])
@pytest.mark.parametrize("wrong", [5, "text", [1], [[]], {"id": []}, {"x": {"y": "z"}}, True])
def test_wrong_types_are_one_line_that_names_the_field(
    control: Control, api: FakeApi, model: type[WireModel], argv: tuple[str, ...], wrong: object
) -> None:
    for field in model.model_fields:
        api.answers(reply({field: wrong}))

        ran = control(*argv, stdin=b"true")

        assert ran.code == os.EX_PROTOCOL
        assert ran.out == ""
        assert f"{field}" in ran.err
        assert ran.err.count("\n") == 1


def test_an_inventory_is_harmless_in_every_name_and_value(control: Control, api: FakeApi) -> None:
    group = {HOSTILE: HOSTILE, "deep": {HOSTILE: {HOSTILE: [HOSTILE]}}, "list": [HOSTILE]}
    api.answers(reply({"inventory": {HOSTILE: group, "disks": [group, {"name": HOSTILE}]}}))

    ran = control("node", "inventory", "n1")

    assert ran.code == os.EX_OK
    assert_harmless(ran.out + ran.err)
    assert ran.out.count("\\x1b]0;owned") >= 6


@pytest.mark.parametrize("wrong", [5, "text", [1], True])
def test_an_inventory_of_a_wrong_type_is_named(control: Control, api: FakeApi, wrong: object) -> None:
    api.answers(reply({"inventory": wrong}))

    ran = control("node", "inventory", "n1")

    assert (ran.code, ran.out) == (os.EX_PROTOCOL, "")
    assert "inventory" in ran.err


def filled(model: type[WireModel]) -> dict[str, Any]:
    """An answer with hostile text wherever text may stand, and two of everything that is a list."""
    return {name: _hostile(field.annotation) for name, field in model.model_fields.items()}


def _hostile(kind: Any) -> Any:
    """The worst value that the annotation lets in, as it stands in JSON."""
    arguments = get_args(kind)
    if get_origin(kind) is Annotated:
        return _hostile(arguments[0])
    if get_origin(kind) is tuple:
        return [_hostile(arguments[0])] * 2
    if get_origin(kind) is Mapping:
        return {HOSTILE: _hostile(arguments[1])}
    if isinstance(kind, UnionType) and kind != datetime | None:
        return _hostile(arguments[0])
    if isinstance(kind, type) and issubclass(kind, WireModel):
        return filled(kind)
    return {str: HOSTILE, Any: HOSTILE, int: -(2**63), bool: True, datetime | None: "9999-12-31T23:59:59-14:00"}[kind]
