"""How the spawner is started: what it gets, what it does not get, and how it goes."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lattice_agent.errors import SandboxError
from lattice_agent.exec.kernel import seqpacket
from lattice_agent.exec.launch import SpawnerProcess, start_spawner
from lattice_agent.exec.requests import FROM_SPAWNER, MAX_MESSAGE, Destroy, RunGone, decode, encode
from tests.hostile.rig import OUTER_LIMIT_S, REPOSITORY, alive
from tests.test_layers import PRIVILEGED


@pytest.fixture
def spawner() -> Iterator[SpawnerProcess]:
    process = start_spawner()
    wait_until_up(process)
    yield process
    process.close()


def wait_until_up(spawner: SpawnerProcess) -> None:
    seqpacket.send(spawner.socket, encode(Destroy(1)))
    assert answer(spawner.socket) == RunGone(1, 0)


def answer(sock: socket.socket) -> object:
    sock.settimeout(OUTER_LIMIT_S)
    message = decode(sock.recv(MAX_MESSAGE), FROM_SPAWNER)
    sock.setblocking(False)
    return message


def test_weak_point_13_the_spawner_holds_nothing_of_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATTICE_NODE_TOKEN", "top-secret")
    leaky = os.open("/dev/zero", os.O_RDONLY)
    os.set_inheritable(leaky, True)
    spawner = start_spawner()
    try:
        wait_until_up(spawner)
        proc = Path(f"/proc/{spawner.pid}")
        assert proc.joinpath("environ").read_bytes() == b""
        assert b"top-secret" not in proc.joinpath("cmdline").read_bytes()
        targets = {os.readlink(entry) for entry in proc.joinpath("fd").iterdir()}
        assert not any("zero" in target for target in targets)
        assert sum("socket" in target for target in targets) == 1
        assert os.readlink(proc / "fd/0") == os.readlink(proc / "fd/1") == os.devnull
        assert os.getsid(spawner.pid) == spawner.pid
    finally:
        os.close(leaky)
        spawner.close()


def test_its_imports_are_the_standard_library_prctl_and_this_package() -> None:
    code = "import sys; sys.path += {!r}; import lattice_agent.exec.spawner; print(*sys.modules)"
    from lattice_agent.exec.launch import _import_places

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code.format(_import_places())], capture_output=True, text=True, check=True
    )
    modules = done.stdout.split()
    foreign = {name.split(".")[0] for name in modules} - sys.stdlib_module_names - {"__main__", "_prctl", "prctl"}
    assert foreign == {"lattice_agent"}
    ours = {name for name in modules if name.startswith("lattice_agent.")}
    allowed = {"lattice_agent.errors", "lattice_agent.exec"}
    allowed |= {"lattice_agent." + name.removesuffix(".py").replace("/", ".") for name in PRIVILEGED}
    assert {name for name in ours if ".kernel" not in name} == allowed
    assert not {"typing", "dataclasses", "threading", "subprocess", "logging", "asyncio"} & set(modules)


def test_it_blocks_in_poll_and_uses_no_cpu_while_idle(spawner: SpawnerProcess) -> None:
    proc = Path(f"/proc/{spawner.pid}")

    def switches() -> int:
        lines = proc.joinpath("status").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)

    while "poll" not in proc.joinpath("wchan").read_text() and proc.joinpath("stat").read_text().split()[2] != "S":
        pass
    before = switches()
    subprocess.run(["/bin/sleep", "0.3"], check=True)  # time in which an idle loop would show
    assert switches() - before <= 1
    assert not spawner.ended()


def test_signals_that_can_be_blocked_do_not_touch_it(spawner: SpawnerProcess) -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        os.kill(spawner.pid, number)
    wait_until_up(spawner)


def test_closing_its_socket_ends_it(spawner: SpawnerProcess) -> None:
    spawner.close()
    assert spawner.ended()
    assert not alive(spawner.pid)


def test_an_agent_that_is_killed_takes_its_spawner_along() -> None:
    code = "import os, signal; from lattice_agent.exec.launch import start_spawner; s = start_spawner()\n"
    code += "print(s.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    pidfd_gone(int(done.stdout))
    assert not alive(int(done.stdout))


def pidfd_gone(pid: int) -> None:
    """Wait for the end of a process that is not a child."""
    import select

    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ready, _, _ = select.select([pidfd], [], [], OUTER_LIMIT_S)
    os.close(pidfd)
    assert ready


def test_it_is_only_started_from_the_main_thread() -> None:
    caught: list[BaseException] = []

    def start() -> None:
        try:
            start_spawner()
        except SandboxError as error:
            caught.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(caught[0])


def test_an_interpreter_that_is_gone_is_an_error_with_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(SandboxError, match="/nowhere/python: No such file"):
        start_spawner()
    assert os.listdir("/proc/self/fd") == before
