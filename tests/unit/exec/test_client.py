"""The synchronous client on real cells: one script after the other, whatever happens in between."""

import os
import resource
import signal
import threading
from collections.abc import Iterator

import pytest

from lattice_agent.errors import SandboxError, SpawnerGoneError
from lattice_agent.exec.client import SandboxClient
from lattice_agent.exec.library import plan_for
from lattice_agent.exec.outcome import Clock, Kind
from lattice_agent.exec.plan import Level, Profile
from tests.hostile.rig import alive, children_of
from tests.rigs.cells import apart, limits, runs_a_script, settled
from tests.unit.exec.test_runner import only_free_descriptors

pytestmark = pytest.mark.needs_root

WAIT_S = 10.0


@pytest.fixture(scope="module")
def shared() -> Iterator[SandboxClient]:
    with SandboxClient() as client:
        yield client


@pytest.fixture
def client(shared: SandboxClient) -> SandboxClient:
    """A client that is as new."""
    assert shared.refill(wait_s=WAIT_S) == 2
    return shared


def running(client: SandboxClient) -> list[int]:
    """The client's cells that do not wait."""
    return [init for init in children_of(client.spawner_pid) if runs_a_script(init)]


def test_a_script_gives_its_outcome(client: SandboxClient) -> None:
    outcome = client.run("echo out; echo err >&2; exit 3")
    assert (outcome.kind, outcome.exit_code, outcome.level) == (Kind.EXITED, 3, Level.STRICT)
    assert (outcome.stdout.kept, outcome.stderr.kept) == (b"out\n", b"err\n")
    assert 0 < outcome.wall_s < 5
    assert outcome.max_rss_bytes > 0


def test_scripts_one_after_the_other_see_nothing_of_each_other(client: SandboxClient) -> None:
    for number in range(20):
        outcome = client.run(f"ls /tmp /tmp/work; echo {number}; touch /tmp/left left", environment={"N": "1"})
        assert outcome.stdout.kept == f"/tmp:\nwork\n\n/tmp/work:\nscript\n{number}\n".encode()


def test_after_each_script_as_much_is_ready_as_before(client: SandboxClient) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(30):
        assert client.run(":").kind is Kind.EXITED
    assert client.refill(wait_s=WAIT_S) == 2
    assert len(os.listdir("/proc/self/fd")) == before
    settled(lambda: len(children_of(client.spawner_pid)) == 2)


def test_a_timeout_asks_and_then_kills(client: SandboxClient) -> None:
    asked = client.run("trap 'echo asked; exit 5' TERM; while :; do sleep 0.02; done", limits=limits(wall_s=0.2))
    assert (asked.kind, asked.clock, asked.exit_code) == (Kind.TIMED_OUT, Clock.WALL, 5)
    assert asked.stdout.kept == b"asked\n"
    killed = client.run("trap '' TERM; while :; do sleep 0.02; done", limits=limits(wall_s=0.2, grace_s=0.2))
    assert (killed.kind, killed.clock) == (Kind.TIMED_OUT, Clock.WALL)
    assert 0.4 <= killed.wall_s < 3
    assert not running(client)


def test_limits_and_environment_are_those_that_were_asked_for(client: SandboxClient) -> None:
    outcome = client.run(
        "echo $GREETING $PATH; ulimit -t", limits=limits(cpu_s=7), environment={"GREETING": "hello world"}
    )
    assert outcome.stdout.kept.startswith(b"hello world /usr/bin:")
    assert outcome.stdout.kept.endswith(b"\n7\n")


def test_too_much_memory_is_its_own_kind_of_end(client: SandboxClient) -> None:
    outcome = client.run("x = bytearray(256 << 20)", interpreter="python3", limits=limits(memory_bytes=64 << 20))
    assert (outcome.kind, outcome.message) == (Kind.MEMORY_LIMIT, "more than 64 MiB")


def test_output_comes_as_it_is_written(client: SandboxClient) -> None:
    pieces: list[tuple[str, bytes]] = []
    client.run("echo one; sleep 0.1; echo two >&2", on_output=lambda stream, data: pieces.append((stream, data)))
    assert pieces == [("stdout", b"one\n"), ("stderr", b"two\n")]


def test_a_flood_is_cut(client: SandboxClient) -> None:
    outcome = client.run("yes | head -c 20000000", limits=limits(output_bytes=100))
    assert (outcome.kind, outcome.stdout.produced, len(outcome.stdout.kept)) == (Kind.OUTPUT_LIMIT, 20_000_000, 100)


class Interrupted(BaseException):
    """As KeyboardInterrupt: no Exception."""


@pytest.mark.parametrize("error", [Interrupted, ValueError])
def test_an_exception_in_between_ends_the_script_before_it_goes_on(
    client: SandboxClient, error: type[BaseException]
) -> None:
    def interrupt(_stream: str, _data: bytes) -> None:
        raise error("stop")

    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(error, match="stop"):
        client.run("trap '' TERM; echo up; sleep 60", on_output=interrupt)
    settled(lambda: not running(client))
    assert client.run("echo on").stdout.kept == b"on\n"
    assert client.refill(wait_s=WAIT_S) == 2
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_signal_handler_that_raises_ends_the_script_too(client: SandboxClient) -> None:
    def interrupt(_number: int, _frame: object) -> None:
        raise Interrupted

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(Interrupted):
            client.run("trap '' TERM; sleep 60")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    settled(lambda: not running(client))


def test_an_interpreter_that_is_not_there_inside_is_a_failure_to_start(client: SandboxClient) -> None:
    plan = plan_for("echo")
    broken = type(plan)(**(vars(plan) | {"interpreter_path": "/nowhere/sh"}))
    outcome = client.run_plan(broken)
    assert (outcome.kind, outcome.message) == (Kind.FAILED_TO_START, "exec /nowhere/sh: No such file or directory")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"environment": {"A": "x\0y"}}, "NUL"),
        ({"environment": {"A": "x" * 60_000}}, "more than"),
        ({"interpreter": "perl"}, "unknown interpreter 'perl'"),
    ],
)
def test_what_cannot_be_run_is_an_error_and_the_next_script_runs(
    client: SandboxClient, options: dict[str, object], word: str
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(SandboxError, match=word) as caught:
        client.run("echo", **options)  # type: ignore[arg-type]  # one of run's options
    assert caught.value.hint()
    assert client.run("echo on").stdout.kept == b"on\n"
    assert client.refill(wait_s=WAIT_S) == 2
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_a_descriptor_left_it_fails_and_leaves_nothing(client: SandboxClient) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with only_free_descriptors(0), pytest.raises((SandboxError, OSError)):
        client.run("echo")
    assert client.run("echo on").stdout.kept == b"on\n"
    assert client.refill(wait_s=WAIT_S) == 2
    assert len(os.listdir("/proc/self/fd")) == before


def test_with_many_files_open_it_works_all_the_same() -> None:
    """select(2) knows no descriptor above 1023."""

    def story() -> str:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
        with SandboxClient() as client:
            said = client.run("echo works").stdout.kept.decode()
        return said + str(len(files))

    assert apart(story) == "works\n1100"


@pytest.mark.parametrize(
    ("number", "value"),
    [
        (resource.RLIMIT_CPU, 30),
        (resource.RLIMIT_FSIZE, 1 << 20),
        (resource.RLIMIT_NPROC, 50),
        (resource.RLIMIT_AS, 4 << 30),
        (resource.RLIMIT_DATA, 256 << 20),
    ],
    ids=["cpu", "fsize", "nproc", "as", "data"],
)
def test_a_host_that_allows_less_than_is_asked_for_bounds_it(number: int, value: int) -> None:
    """A service may have hard limits of its own: what lies above cannot be had, and is no reason not to run."""

    def story() -> str:
        resource.setrlimit(number, (value, value))
        with SandboxClient() as client:
            outcome = client.run("ulimit -Ht; echo works")
        return f"{outcome.kind} {outcome.message} {outcome.stdout.kept.decode()}"

    said = apart(story)
    assert said.endswith("works\n"), said
    assert said.startswith("exited  30" if number == resource.RLIMIT_CPU else "exited ")


# --- when the spawner dies ---


def test_a_spawner_that_dies_meanwhile_is_an_error_with_a_hint() -> None:
    with SandboxClient() as client:
        client.run(":")

        def kill(_stream: str, _data: bytes) -> None:
            os.kill(client.spawner_pid, signal.SIGKILL)

        with pytest.raises(SpawnerGoneError) as caught:
            client.run("echo up; sleep 60", on_output=kill)
        assert caught.value.hint() == "make a new SandboxClient"
        with pytest.raises(SpawnerGoneError):
            client.run(":")


def test_a_spawner_that_died_before_is_an_error_with_a_hint() -> None:
    with SandboxClient() as client:
        client.refill(wait_s=WAIT_S)
        inits = children_of(client.spawner_pid)
        os.kill(client.spawner_pid, signal.SIGKILL)
        settled(lambda: not any(alive(init) for init in inits))
        with pytest.raises(SpawnerGoneError) as caught:
            client.run(":")
        assert caught.value.hint() == "make a new SandboxClient"


# --- opening and closing ---


def test_closing_leaves_no_process_and_no_descriptor() -> None:
    before = os.listdir("/proc/self/fd")
    client = SandboxClient()
    client.run("setsid sleep 60 & exit 0")
    client.refill(wait_s=WAIT_S)
    pids = [client.spawner_pid, *children_of(client.spawner_pid)]
    client.close()
    assert not any(alive(pid) for pid in pids)
    assert os.listdir("/proc/self/fd") == before


def test_closing_in_the_middle_of_a_script_ends_it() -> None:
    client = SandboxClient()
    seen: list[int] = []

    def close(_stream: str, _data: bytes) -> None:
        seen.extend(running(client))
        client.close()

    with pytest.raises(SandboxError) as caught:
        client.run("trap '' TERM; echo up; sleep 60", on_output=close)
    assert caught.value.hint()
    assert seen
    assert not any(alive(pid) for pid in seen)


def test_closing_twice_is_once() -> None:
    client = SandboxClient()
    client.close()
    client.close()


def test_it_can_be_closed_while_nothing_is_ready_yet() -> None:
    with SandboxClient() as client:
        spawner = client.spawner_pid
    assert not alive(spawner)


@pytest.mark.parametrize("keep", [0, 1, 5])
def test_as_many_are_kept_ready_as_was_asked_for(keep: int) -> None:
    with SandboxClient(keep=keep) as client:
        assert client.refill(wait_s=WAIT_S) == keep
        assert client.run("echo hi").stdout.kept == b"hi\n"
        assert client.refill(wait_s=WAIT_S) == keep
        settled(lambda: len(children_of(client.spawner_pid)) == keep)


def test_a_profile_that_cannot_be_built_is_an_error_with_the_step() -> None:
    with SandboxClient(Profile(Level.STRICT, read_only=("/nowhere/at/all",))) as client:
        for _ in range(2):
            with pytest.raises(SandboxError, match="sources: No such file or directory"):
                client.run(":")


def test_a_profile_with_a_directory_on_the_host_is_an_error_that_says_so() -> None:
    """Its cells need a directory each, which this face does not make."""
    with pytest.raises(SandboxError) as caught, SandboxClient(Profile(Level.LANDLOCK)) as client:
        client.run(":")
    assert caught.value.hint()


def test_another_thread_is_an_error() -> None:
    caught: list[BaseException] = []

    def start() -> None:
        try:
            SandboxClient()
        except SandboxError as error:
            caught.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(caught[0])
