"""Shows the whole way once: a control plane and an agent on loopback, seven scripts, facts, a usage snapshot.

Uses only the two commands, as an operator would. Everything lives in one temporary directory and ends with this
program. Scripts run at the highest level that this host reaches for whoever starts the demonstration.
"""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
NODE = "demo-node"
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Example:
    """One script of the demonstration, and the ending that it should have."""

    title: str
    interpreter: str
    script: str
    expected: str
    timeout: str = "30s"
    output_limit: int = 65_536


EXAMPLES = (
    Example("shell", "sh", 'echo "hello from $0, kernel $(uname -r)"', "finished"),
    Example("bash", "bash", 'a=(arrays work); echo "bash ${BASH_VERSINFO[0]}: ${a[*]}"', "finished"),
    Example("python", "python3", "import sys; print('python', sys.version.split()[0])", "finished"),
    Example("node", "node", "console.log('node', process.version)", "finished"),
    Example("fails", "sh", "echo 'disk is full' >&2; exit 3", "failed"),
    Example("times out", "sh", "echo started; sleep 60", "failed", timeout="1s"),
    Example("floods", "sh", "head -c 50000000 /dev/zero | tr '\\0' x", "failed", output_limit=2000),
)


class DemoError(Exception):
    """The demonstration did not go as it should."""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="lattice-demo-") as name:
        try:
            demonstrate(Path(name))
        except DemoError as error:
            print(f"demo: {error}", file=sys.stderr)
            show_logs(Path(name))
            return 1
    return 0


def demonstrate(place: Path) -> None:
    place.chmod(0o755)
    with control_plane(place) as control:
        token = control("node", "add", NODE)["token"]
        control("profile", "set", NODE)
        for user in ("alice", "bob"):
            control("user", "add", user)
        with agent(place, control.url, token):
            say(f"control plane at {control.url}, agent {NODE} runs as {pwd.getpwuid(os.geteuid()).pw_name}")
            run_examples(control)
            show_node(control)
            show_usage(control, place)
    say("everything is stopped; nothing is left behind")


# --- the two programs ---------------------------------------------------------------------------------------


class Control:
    """``lattice-control`` as an operator uses it; answers are parsed JSON."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._environment = {**os.environ, "LATTICE_CONTROL_SERVER": url, "LATTICE_CONTROL_TOKEN": token}

    def __call__(self, *words: str, stdin: str = "") -> Any:
        done = subprocess.run(
            [BIN / "lattice-control", *words, "--json"],
            input=stdin,
            env=self._environment,
            text=True,
            capture_output=True,
            timeout=DEADLINE_S,
            check=False,
        )
        if not done.stdout:
            raise DemoError(f"lattice-control {' '.join(words)}: {done.stderr.strip()}")
        return json.loads(done.stdout)


@contextmanager
def control_plane(place: Path) -> Iterator[Control]:
    operator_token, ready = place / "operator-token", place / "ready"
    command = [BIN / "lattice-control", "serve", "--listen", "127.0.0.1:0", "--db", place / "control.db"]
    command += ["--init-token-file", operator_token, "--ready-file", ready]
    with running(command, place / "control.log"):
        wait_for(lambda: ready.exists() and bool(ready.read_text()), "the control plane to listen")
        yield Control(ready.read_text().strip(), operator_token.read_text().strip())


@contextmanager
def agent(place: Path, url: str, token: str) -> Iterator[None]:
    home = place / "agent"
    home.mkdir()
    (home / "token").touch(mode=0o600)
    (home / "token").write_text(token)
    write_usage(home, alice=1_000_000, bob=250_000)
    command = [BIN / "lattice-agent", "-server", url, "-node-id", NODE, "--token-file", home / "token"]
    command += ["-allow-exec=true", *level_flags(), "--state-dir", home / "state", "--slots", "4", "-interval", "1s"]
    command += ["-proxy-usage-file", home / "usage.json"]
    with running(command, place / "agent.log"):
        yield


def level_flags() -> list[str]:
    """The flags that let tasks run at the highest level this host reaches; said, if that is not ``strict``."""
    done = subprocess.run(
        [BIN / "lattice-agent", "doctor", "--json"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise DemoError(f"lattice-agent doctor: {done.stderr.decode(errors='replace').strip()}") from None
    highest = found["highest"]
    if highest == "strict":
        return []
    why = "; ".join(f"{level['level']}: {level['because']}" for level in found["levels"] if level["because"])
    say(f"this host reaches only level {highest} ({why}); lattice-agent doctor tells more")
    if highest == "host" and os.geteuid() == 0:
        return ["-allow-root-exec=true"]
    return ["--min-level", highest]


@contextmanager
def running(command: list[str | Path], log: Path) -> Iterator[None]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LATTICE_")}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd="/")
        try:
            yield
            if process.poll() is not None:
                raise DemoError(f"{log.stem} ended with {process.returncode}")
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


# --- what is shown ------------------------------------------------------------------------------------------


def run_examples(control: Control) -> None:
    tasks = []
    for example in EXAMPLES:
        words = ["task", "run", "--node", NODE, "--interpreter", example.interpreter, "--timeout", example.timeout]
        words += ["--output-limit", str(example.output_limit), "-"]
        tasks.append(control(*words, stdin=example.script)["task"]["id"])
    rows = [("SCRIPT", "STATUS", "EXIT", "BYTES", "REASON", "FIRST LINE")]
    for example, task_id in zip(EXAMPLES, tasks, strict=True):
        task = wait_for(lambda task_id=task_id: ended(control, task_id), f"the end of {example.title!r}")
        result = task["results"][0]
        printed = result["stdout"] + result["stderr"]
        first_line = printed.splitlines()[0][:44] if printed else ""
        rows.append(
            (example.title, task["status"], str(result["exit_code"]), str(len(printed)), result["error"], first_line)
        )
        no_node = example.interpreter == "node" and "interpreter not found" in result["error"]
        if task["status"] != example.expected and not no_node:
            raise DemoError(f"{example.title!r} is {task['status']}: {result}")
    show_table(rows)


def ended(control: Control, task_id: str) -> Any:
    task = control("task", "show", task_id)["task"]
    return task if task["results"] else None


def show_node(control: Control) -> None:
    node = wait_for(lambda: reported(control("node", "show", NODE)["node"]), "the node's facts")
    facts, metrics, runtime = node["host_facts"], node["metrics"], node["agent_runtime"]
    say("what the node says about itself")
    for name in ("hostname", "platform", "platform_version", "kernel_version", "arch", "cpu_cores", "cpu_model"):
        print(f"  {name:18} {facts.get(name, '')}")
    print(f"  {'memory':18} {size(metrics['memory_used'])} of {size(metrics['memory_total'])} used")
    print(f"  {'disk':18} {size(metrics['disk_used'])} of {size(metrics['disk_total'])} used")
    print(f"  {'virtualization':18} {facts.get('virtualization', '')}")
    print(f"  {'sandbox level':18} {runtime['task_sandbox']}")


def reported(node: Any) -> Any:
    return node if node["host_facts"] and node["metrics"] and node["agent_runtime"] else None


def show_usage(control: Control, place: Path) -> None:
    """The first report is the baseline; what comes on top is counted."""
    wait_for(lambda: control("usage", "show")["nodes"][0]["last_report_at"], "the first usage report")
    write_usage(place / "agent", alice=4_500_000, bob=1_250_000)
    usage = wait_for(lambda: counted(control("usage", "show")), "the second usage report")
    rows = [("PROXY USER", "USED", "STATUS")]
    rows += [(user["id"], size(user["used_bytes"]), user["status"]) for user in usage["users"]]
    show_table(rows)


def counted(usage: Any) -> Any:
    return usage if any(user["used_bytes"] for user in usage["users"]) else None


def write_usage(home: Path, **users: int) -> None:
    new = home / "usage.json.new"
    new.write_text(json.dumps({"core_uptime_sec": int(time.monotonic()), "user_bytes": users}))
    new.chmod(0o644)
    new.replace(home / "usage.json")


def wait_for(look: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (found := look()):
        if time.monotonic() > deadline:
            raise DemoError(f"waited {DEADLINE_S:.0f} s for {what}")
        time.sleep(0.05)
    return found


def show_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def size(number: int) -> str:
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def say(text: str) -> None:
    print(f"\n== {text}")


def show_logs(place: Path) -> None:
    for log in sorted(place.glob("*.log")):
        print(f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}", file=sys.stderr)
        shutil.copy(log, tempfile.gettempdir())


if __name__ == "__main__":
    sys.exit(main())
