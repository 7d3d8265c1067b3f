"""What is said of a task before it is sent; and that the header of a script is read as the agent reads it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.exec import script_header as of_agent
from lattice_agent.wire.policy import PolicySummary
from server_stub.rules.policy_preview import preview
from server_stub.rules.script_header import HeaderError, asked_level
from server_stub.rules.task_limits import TaskOrder, check_order

DIGEST = "ab" * 32
OPEN = {
    "allow_exec": True,
    "default_level": "strict",
    "levels": ("strict", "network"),
    "interpreters": ("sh", "bash"),
    "max_timeout_sec": 60,
    "max_output_bytes": 100_000,
}


def order(script: str = "true", interpreter: str = "sh", timeout: int = 30, output: int = 0) -> TaskOrder:
    return check_order(["n1"], interpreter, script, timeout, output)


@pytest.mark.parametrize(
    ("changes", "asked", "verdict", "text"),
    [
        ({}, order(), "runs", "runs at level strict"),
        ({}, order("# lattice: level=network\ntrue"), "runs", "runs at level network"),
        (
            {},
            order(timeout=600, output=262_144),
            *("runs", "runs at level strict, for 60 s at most, with 100000 bytes of output at most"),
        ),
        ({"allow_exec": False}, order(), "refused", "the node runs no tasks (rule exec_disabled)"),
        ({"allow_exec": False, "refusal": "off"}, order(), "refused", "off (rule exec_disabled)"),
        ({"refusal": "min_level is not reached"}, order(), "refused", "min_level is not reached"),
        (
            {"refusal": "min_level is not reached", "listed_scripts": (DIGEST,)},
            order(),
            "unknown",
            "the node's policy lists this script; unless it grants more there: min_level is not reached",
        ),
        ({"forbidden_scripts": (DIGEST,)}, order(), "refused", "the node's policy forbids this script (rule script)"),
        (
            {"only_listed_scripts": True},
            order(),
            *("refused", "only listed scripts run, and this one is not among them (rule script)"),
        ),
        ({"only_listed_scripts": True, "listed_scripts": (DIGEST,)}, order(), "runs", "runs at level strict"),
        (
            {"only_listed_scripts": True, "lists_cut": True},
            order(),
            "unknown",
            "the node's policy lists more scripts than it tells of; if this is none of them: "
            "only listed scripts run, and this one is not among them (rule script)",
        ),
        (
            {"lists_cut": True},
            order(),
            *("unknown", "the node's policy lists more scripts than it tells of, and may forbid this one"),
        ),
        ({}, order("true", "node"), "refused", "node is not allowed or not there (rule interpreter)"),
        (
            {},
            order("# lattice: level=host\ntrue"),
            *("refused", "level host cannot be asked for here (rule level)"),
        ),
        (
            {},
            order("# lattice: level=hots\ntrue"),
            *("refused", "script header (line 1): there is no level 'hots' (rule request)"),
        ),
        (
            {"ruled_scripts": (DIGEST,), "only_listed_scripts": True},
            order(),
            *("unknown", "the node's policy has a rule of its own for this script"),
        ),
        (
            {"uneven_levels": ("network",)},
            order("// lattice: level=network", "node"),
            *("unknown", "the node does not tell whether node is there at level network"),
        ),
        (
            {"uneven_levels": ("network",), "only_listed_scripts": True},
            order("# lattice: level=network"),
            *("refused", "only listed scripts run, and this one is not among them (rule script)"),
        ),
        ({"default_level": ""}, order(), "refused", "a script that asks for no level is refused here (rule level)"),
    ],
)
def test_verdicts(changes: dict[str, Any], asked: TaskOrder, verdict: str, text: str) -> None:
    said = preview(asked, DIGEST, PolicySummary(**(OPEN | changes)))
    assert (said.verdict, said.text) == (verdict, text)
    assert said.timeout_sec == min(asked.timeout_sec, 60)
    assert said.output_limit == min(asked.output_limit, 100_000)


@pytest.mark.parametrize(
    ("changes", "asked", "level"),
    [
        ({}, order(), "strict"),
        ({}, order("# lattice: level=network\ntrue"), "network"),
        ({"allow_exec": False}, order("# lattice: level=network\ntrue"), "network"),
        ({}, order("# lattice: level=hots\ntrue"), ""),
    ],
)
def test_the_level_that_was_judged_is_told(changes: dict[str, Any], asked: TaskOrder, level: str) -> None:
    assert preview(asked, DIGEST, PolicySummary(**(OPEN | changes))).level == level


@pytest.mark.parametrize(
    ("most", "given", "text"),
    [
        ((0, 0), (30, 1_000), "runs at level strict"),
        ((30, 1_000), (30, 1_000), "runs at level strict"),
        ((31, 1_001), (30, 1_000), "runs at level strict"),
        ((29, 1_000), (29, 1_000), "runs at level strict, for 29 s at most"),
        ((1, 1), (1, 1), "runs at level strict, for 1 s at most, with 1 bytes of output at most"),
    ],
)
def test_bounds_of_the_policy_lower_what_is_asked_and_0_is_none(
    most: tuple[int, int], given: tuple[int, int], text: str
) -> None:
    policy = PolicySummary(**(OPEN | {"max_timeout_sec": most[0], "max_output_bytes": most[1]}))
    said = preview(order(timeout=30, output=1_000), DIGEST, policy)
    assert (said.timeout_sec, said.output_limit, said.text) == (*given, text)


def test_a_node_that_has_told_nothing() -> None:
    said = preview(order(), DIGEST, None)
    assert (said.verdict, said.text, said.level) == ("unknown", "the node has not told what it allows", "")
    assert (said.timeout_sec, said.output_limit) == (30, 65_536)


LINES = st.one_of(
    st.sampled_from(
        [
            *("#!/bin/sh", "# lattice: level=network", "## LATTICE: level=strict", "// lattice: level=host", "\ufeff"),
            *("  # lattice:", "# lattice: level=", "# lattice: level=hots", "# lattice: level=host level=host\r"),
            *("# lattice: LEVEL=host", "echo # lattice: level=host", "# lattice : level=host", ""),
        ]
    ),
    st.text(max_size=12),
)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("# lattice:", "script header (line 2) is empty"),
        ("# lattice: level=host level=host", "script header (line 2): level is given twice"),
        ("# lattice: level", "script header (line 2): 'level' is not understood"),
        ("# lattice: " + "x" * 99, f"script header (line 2): '{'x' * 80}' is not understood"),
        ("# lattice: level=" + "x" * 99, f"script header (line 2): there is no level '{'x' * 80}'"),
    ],
)
def test_what_is_wrong_with_a_header_is_said_with_its_line(line: str, problem: str) -> None:
    with pytest.raises(HeaderError) as wrong:
        asked_level(f"#!/bin/sh\n{line}", "sh")
    assert str(wrong.value) == problem


@pytest.mark.parametrize("level", ["strict", "network", "landlock", "host"])
def test_a_header_is_looked_for_in_the_first_ten_lines(level: str) -> None:
    header = f"# lattice: level={level}"
    assert asked_level("\n" * 9 + header, "sh") == level
    assert asked_level("\n" * 10 + header, "sh") == ""
    assert asked_level(f"\ufeff{header}\r\ntrue", "sh") == level
    assert asked_level(header, "node") == ""


@given(st.lists(LINES, max_size=14).map("\n".join), st.sampled_from(["sh", "bash", "python3", "node"]))
def test_headers_are_read_as_the_agent_reads_them(script: str, interpreter: str) -> None:
    try:
        expected = of_agent.asked_level(script, interpreter)
    except of_agent.HeaderError:
        with pytest.raises(HeaderError):
            asked_level(script, interpreter)
        return
    assert asked_level(script, interpreter) == (expected or "")
