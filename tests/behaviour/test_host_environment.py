"""What a script finds at level host: its directory, environment, limits and descriptors (protocol 3.3, 3.4)."""

import os
from pathlib import Path

import pytest

from lattice_agent.exec.outcome import Kind, Outcome
from lattice_agent.exec.plan import TASK_PATH
from tests.hostile.rig import a_runner, plan


def lines(outcome: Outcome) -> list[str]:
    assert outcome.kind is Kind.EXITED, outcome
    assert outcome.stderr.kept == b""
    return outcome.stdout.kept.decode().splitlines()


async def test_the_environment_is_exactly_the_plans_and_the_directory(tmp_path: Path) -> None:
    script = "import os; [print(f'{k}={v}') for k, v in os.environ.items()]; print(os.getcwd())"
    async with a_runner() as runner:
        *environment, cwd = lines(
            await runner.run(plan(script, interpreter="python3", run_id="task_1", work_root=str(tmp_path / "root")))
        )
    expected = {f"PATH={TASK_PATH}", "LATTICE_TASK_ID=task_1", "LATTICE_TASK_LEASE_ID=lease_x"}
    expected |= {f"{name}={cwd}" for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR")}
    assert {line for line in environment if not line.startswith("LC_CTYPE=")} == expected  # Python sets that one
    assert Path(cwd).parent == tmp_path / "root"
    assert list((tmp_path / "root").iterdir()) == []


async def test_weak_point_16_nft_and_the_agent_are_found_on_the_path() -> None:
    async with a_runner() as runner:
        [path] = lines(await runner.run(plan('echo "$PATH"')))
    assert {"/usr/sbin", "/sbin", "/usr/local/sbin"} <= set(path.split(":"))


async def test_the_script_is_a_private_file_run_as_it_is() -> None:
    script = '#!/bin/false\nstat -c %a . script; umask; echo $#; echo "$0"; cat script'
    async with a_runner() as runner:
        modes = lines(await runner.run(plan(script)))
    assert modes[:4] == ["700", "600", "0077", "0"]
    assert modes[4].endswith("/script")
    assert modes[5:] == script.splitlines()


async def test_standard_input_is_the_null_device_and_nothing_else_is_open() -> None:
    script = "readlink /proc/self/fd/0; cat; ls /proc/self/fd | tr '\\n' ' '; read x || echo eof"
    async with a_runner() as runner:
        null, descriptors = lines(await runner.run(plan(script)))
    assert null == os.devnull
    assert descriptors.split() == ["0", "1", "2", "3", "eof"]  # 3 is how ls reads the directory


async def test_rlimits_are_those_of_the_plan_and_no_core_is_dumped() -> None:
    the_plan = plan("cat /proc/self/limits", cpu_s=35, processes=4000, address_bytes=8 << 30)
    async with a_runner() as runner:
        rows = lines(await runner.run(the_plan))
    limits = {row[:26].strip(): row[26:].split()[:2] for row in rows}
    assert limits["Max cpu time"] == ["35", "36"]
    assert limits["Max file size"] == ["8388608"] * 2
    assert limits["Max processes"] == ["4000"] * 2
    assert limits["Max address space"] == [str(8 << 30)] * 2
    assert limits["Max data size"] == [str(512 << 20)] * 2
    assert limits["Max core file size"] == ["0"] * 2


async def test_no_new_privileges_and_signals_as_after_a_login() -> None:
    async with a_runner() as runner:
        rows = lines(await runner.run(plan("exec cat /proc/self/status")))
    status = dict(row.split(":\t") for row in rows if "\t" in row)
    assert status["NoNewPrivs"] == "1"
    # Signals 32 and 33 are glibc's own: its posix_spawn (make uses it) leaves 32 ignored in every descendant, nobody
    # can send or set them through glibc, and they have no default for a script to miss.
    ours = ~(1 << 31 | 1 << 32)
    assert {int(status[name], 16) & ours for name in ("SigBlk", "SigIgn", "SigCgt")} == {0}


async def test_the_main_process_leads_a_session_of_its_own() -> None:
    async with a_runner() as runner:
        [row] = lines(await runner.run(plan("set -- $(cat /proc/$$/stat); echo $1 $5 $6 $7")))
    pid, group, session, terminal = row.split()
    assert pid == group == session
    assert terminal == "0"


@pytest.mark.parametrize("interpreter", ["sh", "bash", "python3"])
async def test_interpreters_get_the_script_as_a_file(interpreter: str) -> None:
    script = "print(6 * 7)" if interpreter == "python3" else "echo $((6 * 7))"
    async with a_runner() as runner:
        assert lines(await runner.run(plan(script, interpreter=interpreter))) == ["42"]


@pytest.mark.needs_node
async def test_node_can_use_webassembly_which_its_own_fetch_needs() -> None:
    script = "new WebAssembly.Memory({initial: 1}); console.log(6 * 7)"
    async with a_runner() as runner:
        assert lines(await runner.run(plan(script, interpreter="node", address_bytes=None))) == ["42"]
        limited = await runner.run(plan(script, interpreter="node", address_bytes=8 << 30))
    assert limited.kind is not Kind.EXITED or limited.exit_code != 0  # why node has no such limit


async def test_weak_point_13_the_parents_environment_and_command_line_show_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LATTICE_NODE_TOKEN", "top-secret")
    script = "cat /proc/$PPID/environ; tr '\\0' ' ' < /proc/$PPID/cmdline; readlink /proc/$PPID/exe"
    async with a_runner() as runner:
        outcome = await runner.run(plan(script))
    assert b"top-secret" not in outcome.stdout.kept + outcome.stderr.kept
    assert b"lattice_agent.exec.spawner" in outcome.stdout.kept


async def test_a_file_beyond_the_limit_ends_the_writer_with_the_signal() -> None:
    async with a_runner() as runner:
        outcome = await runner.run(plan("exec head -c 2000000 /dev/zero > file", file_bytes=1 << 20))
    assert (outcome.kind, outcome.signal) == (Kind.SIGNALLED, 25)


async def test_a_core_dump_is_not_made(tmp_path: Path) -> None:
    async with a_runner() as runner:
        outcome = await runner.run(plan("kill -ABRT $$"))
    assert (outcome.kind, outcome.signal, outcome.core_dumped) == (Kind.SIGNALLED, 6, False)


async def test_weak_point_12_the_outcome_says_that_this_level_only_bounds() -> None:
    async with a_runner() as runner:
        outcome = await runner.run(plan("test -r /etc/passwd"))
    assert outcome.exit_code == 0  # the script sees what the agent sees
    assert outcome.level == "host"


@pytest.fixture
def open_root(tmp_path: Path) -> Path:
    """A directory that anybody can write."""
    tmp_path.chmod(0o777)
    return tmp_path


async def test_a_work_root_that_cannot_be_used_is_a_failure_to_start(open_root: Path) -> None:
    async with a_runner() as runner:
        outcome = await runner.run(plan("echo no", work_root=str(open_root)))
    assert outcome.kind is Kind.FAILED_TO_START
    assert outcome.message == f"task work root {open_root} must not be group/world writable (mode 777)"
