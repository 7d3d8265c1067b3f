"""The sandbox as other programs use it: by its documented names, its examples, and what a script finds inside."""

import ast
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

import lattice_agent.exec as package
from lattice_agent.errors import SandboxError
from lattice_agent.exec import Kind, Level, Profile, SandboxClient, open_sandbox
from tests.hostile.rig import OUTER_LIMIT_S, REPOSITORY
from tests.rigs.cells import apart

pytestmark = pytest.mark.needs_root

DOCUMENTS = {
    "README": REPOSITORY / "README.md",
    "sandbox": REPOSITORY / "lattice_agent/exec/sandbox.py",
    "client": REPOSITORY / "lattice_agent/exec/client.py",
}


@pytest.fixture(scope="module")
def client() -> Iterator[SandboxClient]:
    with SandboxClient() as client:
        yield client


def said(client: SandboxClient, script: str | bytes, interpreter: str = "sh", **environment: str) -> str:
    """What a script writes; it has to end well."""
    outcome = client.run(script, interpreter=interpreter, environment=environment)
    assert (outcome.kind, outcome.exit_code) == (Kind.EXITED, 0), outcome
    assert outcome.stderr.kept == b""
    return outcome.stdout.kept.decode()


def program(text: str) -> str:
    """What a plain Python program writes, which has nothing to do with the agent."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(text)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=OUTER_LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


# --- as it is documented ---


def test_the_ten_lines_of_the_readme_run_a_script_and_print_its_outcome(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENTS["README"].read_text(), re.DOTALL)
    examples = [block for block in blocks if "lattice_agent.exec" in block]
    assert examples, "README.md shows no program that uses the sandbox"
    for example in examples:
        assert len([line for line in example.splitlines() if line.strip()]) <= 10
        (tmp_path / "example.py").write_text(example)
        done = subprocess.run(
            [sys.executable, "-W", "error", "example.py"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.fspath(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=OUTER_LIMIT_S,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "exited" in done.stdout.lower()


@pytest.mark.parametrize("name", ["sandbox", "client"])
def test_the_example_of_each_face_works(name: str) -> None:
    text = ast.get_docstring(ast.parse(DOCUMENTS[name].read_text())) or ""
    example = textwrap.dedent(text.split("::\n\n", 1)[1].split("\n\n")[0])
    if name == "sandbox":
        body = textwrap.indent(example + "\nprint(outcome.stdout.kept)", "    ")
        example = f"import trio\nfrom lattice_agent.exec import open_sandbox\nasync def main():\n{body}\ntrio.run(main)"
    else:
        example = f"from lattice_agent.exec import SandboxClient\n{example}\nprint(outcome.stdout.kept)"
    assert program(example) == "b'hello\\n'\n"


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    names: dict[str, object] = {}
    exec("from lattice_agent.exec import *", names)
    assert set(package.__all__) == names.keys() - {"__builtins__"}
    for name in package.__all__:
        assert (names[name].__doc__ or "").strip(), name
    with pytest.raises(AttributeError, match="nothing_like_it"):
        package.nothing_like_it  # noqa: B018 - the access is the test


def test_the_synchronous_face_needs_no_trio_and_none_of_the_agent() -> None:
    loaded = program(
        """
        import sys
        import lattice_agent.exec
        print("trio" in sys.modules)
        from lattice_agent.exec import SandboxClient, Kind, Level, Limits, Outcome, Profile, Clock
        with SandboxClient() as sandbox:
            print(sandbox.run("echo hello").stdout.kept.decode(), end="")
        print(*sorted({name.split(".")[1] for name in sys.modules if name.startswith("lattice_agent.")}))
        print("trio" in sys.modules, "httpx" in sys.modules, "pydantic" in sys.modules)
        """
    )
    assert loaded.splitlines() == ["False", "hello", "errors exec", "False False False"]


def test_the_trio_face_needs_none_of_the_agent() -> None:
    loaded = program(
        """
        import sys, trio
        from lattice_agent.exec import open_sandbox
        async def main():
            async with open_sandbox() as sandbox:
                print((await sandbox.run("echo hello", timeout_s=5)).stdout.kept.decode(), end="")
        trio.run(main)
        print(*sorted({name.split(".")[1] for name in sys.modules if name.startswith("lattice_agent.")}))
        """
    )
    assert loaded.splitlines() == ["hello", "errors exec"]


def test_a_program_that_forgets_to_close_leaves_no_process() -> None:
    pid = int(
        program(
            """
            import warnings; warnings.simplefilter("ignore")
            from lattice_agent.exec import SandboxClient
            sandbox = SandboxClient()
            sandbox.run("setsid sleep 60 & exit 0")
            print(sandbox.spawner_pid)
            import os; os._exit(0)
            """
        )
    )
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    import select

    assert select.select([pidfd], [], [], OUTER_LIMIT_S)[0]
    os.close(pidfd)


# --- misuse ---


async def test_an_unknown_interpreter_names_those_that_are_known() -> None:
    async with open_sandbox() as sandbox:
        with pytest.raises(SandboxError, match="unknown interpreter 'perl'") as caught:
            await sandbox.run("print 1", interpreter="perl")
    assert caught.value.hint() == "use one of sh, bash, python3, node"


async def test_another_thread_than_the_main_one_is_refused() -> None:
    async def use() -> None:
        async with open_sandbox():
            raise AssertionError("opened")

    def in_thread() -> str:
        try:
            trio.run(use)
        except SandboxError as error:
            return str(error)
        return ""

    assert "main thread" in await trio.to_thread.run_sync(in_thread)


async def test_a_level_that_is_not_reached_is_a_failure_that_names_the_step() -> None:
    async with open_sandbox(Profile(Level.STRICT, read_only=("/nowhere",))) as sandbox:
        outcome = await sandbox.run("echo ran")
    assert (outcome.kind, outcome.stdout.kept) == (Kind.FAILED_TO_START, b"")
    assert outcome.message.startswith("sources: ")


# --- the trio face ---


async def test_scripts_run_at_once_each_with_its_own_limits() -> None:
    outcomes: dict[str, Kind] = {}
    async with open_sandbox() as sandbox, trio.open_nursery() as nursery:

        async def run(name: str, script: str, **options: float) -> None:
            outcomes[name] = (await sandbox.run(script, **options)).kind  # type: ignore[arg-type]  # numbers

        nursery.start_soon(lambda: run("quick", "exit 0"))
        nursery.start_soon(lambda: run("slow", "sleep 60", timeout_s=0.3))
        nursery.start_soon(lambda: run("large", "x=$(head -c 99999999 /dev/zero | tr '\\0' x)", memory_bytes=32 << 20))
    assert outcomes == {"quick": Kind.EXITED, "slow": Kind.TIMED_OUT, "large": Kind.MEMORY_LIMIT}


async def test_a_cancel_scope_ends_a_script_and_its_outcome_tells() -> None:
    pieces: list[bytes] = []
    async with open_sandbox() as sandbox:
        with trio.CancelScope() as scope:

            def stop(_stream: str, data: bytes) -> None:
                pieces.append(data)
                scope.cancel()

            outcome = await sandbox.run("echo up; sleep 60", on_output=stop)
        assert (outcome.kind, outcome.stdout.kept, pieces) == (Kind.CANCELLED, b"up\n", [b"up\n"])
        assert (await sandbox.run("echo on")).stdout.kept == b"on\n"


@pytest.mark.parametrize("level", [Level.STRICT, Level.NETWORK, Level.LANDLOCK])
async def test_each_level_can_be_opened_and_says_which_it_is(level: Level) -> None:
    async with open_sandbox(Profile(level)) as sandbox:
        outcome = await sandbox.run("echo hello")
    assert (outcome.kind, outcome.level, outcome.stdout.kept) == (Kind.EXITED, level, b"hello\n")


async def test_another_profile_can_be_asked_for_with_the_script() -> None:
    async with open_sandbox() as sandbox:
        assert (await sandbox.run("echo", profile=Profile(Level.LANDLOCK))).level is Level.LANDLOCK
        assert (await sandbox.run("echo")).level is Level.STRICT


# --- what a script finds ---


def test_its_place(client: SandboxClient) -> None:
    script = 'pwd; echo $HOME $TMPDIR $XDG_RUNTIME_DIR; umask; stat -c "%a %n" . script; echo $0; hostname'
    assert said(client, script).splitlines() == [
        "/tmp/work",
        "/tmp/work /tmp/work /tmp/work",
        "0077",
        "700 .",
        "600 script",
        "/tmp/work/script",
        "cell",
    ]


def test_its_environment_is_what_was_named_and_nothing_else(
    client: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hush")
    seen = said(client, "import os; print(*sorted(os.environ))", "python3", EXTRA="1").split()
    assert set(seen) - {"LC_CTYPE"} == {"PATH", "HOME", "TMPDIR", "XDG_RUNTIME_DIR", "EXTRA"}  # LC_CTYPE: Python's own


def test_its_streams_can_be_opened_by_name(client: SandboxClient) -> None:
    script = "echo a > /dev/stdout; echo b > /dev/stderr; echo c >> /dev/stdout; cat < /dev/stdin; ls -l /dev/fd/1"
    outcome = client.run(script)
    assert outcome.stdout.kept.decode().splitlines()[:2] == ["a", "c"]
    assert outcome.stderr.kept == b"b\n"
    assert outcome.exit_code == 0


def test_its_input_is_empty_and_it_has_no_terminal(client: SandboxClient) -> None:
    script = "cat; read x || echo none; (: < /dev/tty) 2>/dev/null || echo no terminal"
    assert said(client, script) == "none\nno terminal\n"


def test_common_devices_and_places_work(client: SandboxClient) -> None:
    script = """
        echo gone > /dev/null; head -c 3 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c
        echo x > /tmp/x; echo y > /var/tmp/y; cat /tmp/x /tmp/y; mktemp > /dev/null
        echo 'echo ran' > p; chmod +x p; ./p
    """
    assert said(client, script).split() == ["3", "5", "x", "y", "ran"]


@pytest.mark.parametrize("code", [0, 1, 2, 126, 127, 128, 255])
def test_every_exit_code_comes_back(client: SandboxClient, code: int) -> None:
    outcome = client.run(f"exit {code}")
    assert (outcome.kind, outcome.exit_code, outcome.signal) == (Kind.EXITED, code, None)


@pytest.mark.parametrize("name", ["TERM", "KILL", "SEGV", "PIPE", "USR1", "XFSZ"])
def test_a_signal_that_ends_it_comes_back(client: SandboxClient, name: str) -> None:
    import signal

    outcome = client.run(f"kill -{name} $$; sleep 9")
    assert (outcome.kind, outcome.signal, outcome.exit_code) == (Kind.SIGNALLED, signal.Signals[f"SIG{name}"], None)
    assert not outcome.core_dumped


def test_signals_have_their_defaults(client: SandboxClient) -> None:
    assert said(client, "yes | head -1; (trap - PIPE; yes; echo survived) | head -1") == "y\ny\n"


def test_a_large_script_is_run_to_its_end(client: SandboxClient) -> None:
    padding = "#" + "x" * 100 + "\n"
    script = padding * (65_536 // len(padding)) + "echo end"
    assert len(script) > 65_000
    assert said(client, script) == "end\n"


def test_any_bytes_are_a_script(client: SandboxClient) -> None:
    assert client.run(b"printf '%s' '\xff\xfe\xc3'").stdout.kept == b"\xff\xfe\xc3"
    assert said(client, "") == ""
    assert said(client, "printf 'no newline at the end'") == "no newline at the end"
    assert said(client, "echo one\r\n".replace("\r", "")) == "one\n"


@pytest.mark.parametrize(
    ("interpreter", "script"),
    [
        ("sh", "echo $((6 * 7))"),
        ("bash", "a=(6 7); echo $((a[0] * a[1]))"),
        ("python3", "import json, socket, ssl, sqlite3, subprocess, threading; print(6 * 7)"),
        pytest.param("node", "console.log(6 * 7)", marks=pytest.mark.needs_node),
    ],
)
def test_each_interpreter_works(client: SandboxClient, interpreter: str, script: str) -> None:
    assert said(client, script, interpreter) == "42\n"


def test_a_nul_byte_in_a_variable_is_refused_with_a_word_about_it(client: SandboxClient) -> None:
    with pytest.raises(SandboxError, match="NUL") as caught:
        client.run("echo", environment={"A": "x\0y"})
    assert caught.value.hint()


def test_it_talks_to_itself_over_loopback(client: SandboxClient) -> None:
    script = """
        import socket, threading
        server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=lambda: server.accept()[0].sendall(b"hello")).start()
        print(socket.create_connection(server.getsockname()).recv(9).decode())
        print([line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line])
    """
    assert said(client, textwrap.dedent(script), "python3") == "hello\n['lo']\n"


def test_it_knows_who_it_is_and_nobody_else(client: SandboxClient) -> None:
    script = "id -un | grep -c script; id -G | wc -w; cut -d: -f1 /etc/passwd | grep -v ^script"
    assert said(client, script).split() == ["1", "1", "root", "nobody"]


def test_the_outcome_tells_what_it_used() -> None:
    def story() -> str:
        with SandboxClient() as client:
            busy = "import time\nx = bytearray(32 << 20)\nwhile time.process_time() < 0.3: pass"
            outcome = client.run(busy, interpreter="python3")
        assert 0.3 <= outcome.cpu_s < 1.5, outcome
        assert outcome.cpu_s <= outcome.wall_s * 1.5 < 20, outcome
        assert 32 << 20 <= outcome.max_rss_bytes < 128 << 20, outcome
        return "done"

    assert apart(story) == "done"
