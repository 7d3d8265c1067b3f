"""``lattice-agent policy`` as an owner calls it, before an agent starts with the file."""

import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from tests.rigs.stub_agent import call

DOCUMENT = Path(__file__).parents[2] / "docs" / "policy.md"
EXAMPLES = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


def write(path: Path, text: str, mode: int = 0o644) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def outcome(*words: str) -> tuple[int, list[str], str]:
    """Exit code, lines of stdout, stderr."""
    done = call(("policy", *words), {"LATTICE_NODE_TOKEN": "not-a-real-token"})
    assert "not-a-real-token" not in done.stdout + done.stderr
    return done.returncode, done.stdout.splitlines(), done.stderr


@pytest.mark.needs_root
@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_of_the_document_passes(example: str, tmp_path: Path) -> None:
    file = write(tmp_path / "policy.toml", example)
    code, lines, err = outcome("check", file)
    assert (code, lines[-1], err) == (0, f"{file}: ok", "")
    assert all(line.startswith(f"{file}: warning: ") for line in lines[:-1])  # paths that are not on this machine


@pytest.mark.needs_root
def test_check_names_everything_that_is_wrong_one_line_each(tmp_path: Path) -> None:
    file = write(
        tmp_path / "policy.toml",
        'min_lvel = "host"\n"two\\nlines" = 1\n[levels.host]\nread_only = ["/srv"]\n[limits]\nprocesses = 0\n',
        0o664,
    )
    code, lines, err = outcome("check", file)
    assert (code, err) == (1, "")
    assert all(line.startswith(f"{file}: error: ") for line in lines)
    told = (
        "cannot be trusted: it is writable by its group",
        "unknown key min_lvel; the nearest valid one is min_level",
        "unknown key two\\nlines",
        "limits.processes must be",
        "unknown key levels.host.read_only",
    )
    for part, line in zip(told, lines, strict=True):
        assert part in line
    assert "chmod 0644" in lines[0]


def test_check_of_a_file_that_is_not_there_or_no_toml(tmp_path: Path) -> None:
    code, lines, _ = outcome("check", str(tmp_path / "absent"))
    assert code == 1
    assert len(lines) == 1
    assert "No such file or directory" in lines[0]
    code, lines, _ = outcome("check", write(tmp_path / "broken", "[["))
    assert code == 1
    assert "is not valid TOML" in lines[-1]


@pytest.mark.needs_root
def test_check_warns_of_what_this_machine_does_not_have(tmp_path: Path) -> None:
    absent, program = tmp_path / "absent", write(tmp_path / "python3", "#!/bin/sh\n", 0o755)
    file = write(
        tmp_path / "policy.toml",
        f"[levels.strict]\nread_only = ['/usr/share']\nwork_disk = '{absent}'\n"
        f"[interpreters.node]\npath = '{absent}'\n[interpreters.python3]\npath = '{program}'\n",
    )
    code, lines, _ = outcome("check", file)
    assert (code, lines) == (
        0,
        [
            f"{file}: warning: levels.strict.work_disk: {absent} is not on this machine",
            f"{file}: warning: interpreters.node.path: {absent} is not an executable file on this machine",
            f"{file}: warning: interpreters.python3.path: {program} is not to be seen inside cells of "
            "landlock, network, strict",
            f"{file}: ok",
        ],
    )


@pytest.mark.needs_root
def test_explain_decides_on_a_script_as_the_agent_would(tmp_path: Path) -> None:
    text = "#!/bin/sh\n# lattice: level=network\ncurl https://example.com\n"
    script = write(tmp_path / "script.sh", text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    closed = write(tmp_path / "closed.toml", "only_listed_scripts = true\n")
    listed = write(tmp_path / "listed.toml", f"only_listed_scripts = true\n[[scripts]]\nsha256 = '{digest}'\n")
    granted = write(tmp_path / "granted.toml", "[levels.network]\nallowed = true\nmax_timeout_s = 7\n")
    lines = []
    for file in (closed, listed, granted):
        code, out, err = outcome("explain", file, "--script", script, "--interpreter", "sh", "--uid", "1000")
        assert (code, err) == (0, "")
        lines.append(next(line for line in out if line.startswith("sh, the script given: ")))
    assert f"not among them: sha256 {digest}" in lines[0]
    assert "refused: the script asks for level network, which this node's policy does not grant" in lines[1]
    assert lines[2].endswith("runs at network: asked for, and levels.network.allowed = true")
    _, out, _ = outcome("explain", granted, "--script", script, "--interpreter", "sh", "--json", "--uid", "1000")
    assert json.loads("\n".join(out))["script"][0]["limits"]["timeout_s"] == 7


@pytest.mark.needs_root
def test_explain_of_a_file_that_root_does_not_own_explains_and_says_so(tmp_path: Path) -> None:
    file = write(tmp_path / "policy.toml", "")
    os.chown(file, 1000, 1000)
    code, lines, err = outcome("explain", file)
    assert code == 1
    assert "an agent would not take this file" in err
    assert "owned by uid 1000" in err
    assert any(line.startswith("default  ") for line in lines)


def test_explain_of_what_is_not_valid_explains_nothing(tmp_path: Path) -> None:
    code, lines, err = outcome("explain", write(tmp_path / "policy.toml", "min_level = 'x'"))
    assert (code, lines) == (1, [])
    assert "min_level must be one of strict, network, landlock, host, not 'x'" in err


@pytest.mark.parametrize("words", [(), ("check",), ("explain", "a", "b"), ("check", "-x", "a"), ("explian", "a")])
def test_a_wrong_call_is_one_line_and_exit_2(words: tuple[str, ...]) -> None:
    code, lines, err = outcome(*words)
    assert (code, lines) == (2, [])
    assert err.startswith("lattice-agent: ")
    assert err.count("\n") == 1


def test_a_script_that_is_no_text_or_not_there_is_said(tmp_path: Path) -> None:
    file = write(tmp_path / "policy.toml", "")
    (tmp_path / "script").write_bytes(b"\xff")
    for script, told in ((tmp_path / "script", "is not UTF-8 text"), (tmp_path / "absent", "No such file")):
        code, lines, err = outcome("explain", file, "--script", str(script))
        assert (code, lines) == (os.EX_CONFIG, [])
        assert told in err
