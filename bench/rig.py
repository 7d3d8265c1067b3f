"""A control plane and an agent as real processes on loopback, for benchmarks; all ends with the ``with`` block."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
NODE = "bench-node"


@dataclass
class Plane:
    """The control plane's operator side."""

    url: str
    api: httpx.Client
    node_token: str
    place: Path
    server: "subprocess.Popen[bytes]"

    def create(self, script: str = ":", interpreter: str = "sh") -> str:
        body = {"node": NODE, "interpreter": interpreter, "script": script}
        answer = self.api.post("/api/v1/tasks", json=body).raise_for_status()
        return str(answer.json()["task"]["id"])

    def wait(self, task_id: str) -> dict[str, Any]:
        """The task with its result; one long poll."""
        while True:
            answer = self.api.get(f"/api/v1/tasks/{task_id}", params={"wait_s": "60"}).raise_for_status()
            task: dict[str, Any] = answer.json()["task"]
            if task["results"]:
                return task


@contextmanager
def control_plane(*, extensions: bool = True) -> Iterator[Plane]:
    with tempfile.TemporaryDirectory(prefix="lattice-bench-") as name:
        place = Path(name)
        ready, token = place / "ready", place / "operator"
        program = [BIN / "lattice-control"] if extensions else [BIN / "python", ROOT / "bench" / "base_wire.py"]
        command: list[str | Path] = [*program, "serve", "--listen", "127.0.0.1:0", "--db", place / "control.db"]
        with process([*command, "--init-token-file", token, "--ready-file", ready], place / "server.log") as server:
            wait_until(lambda: ready.exists() and bool(ready.read_text()))
            url = ready.read_text().strip()
            headers = {"Authorization": f"Bearer {token.read_text().strip()}"}
            with httpx.Client(base_url=url, headers=headers, timeout=90) as api:
                node = api.post("/api/v1/nodes", json={"id": NODE}).raise_for_status().json()
                yield Plane(url, api, node["token"], place, server)


@contextmanager
def agent(plane: Plane, *flags: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The agent; ready when the control plane has seen its heartbeat."""
    token = plane.place / "token"
    token.write_text(plane.node_token)
    token.chmod(0o600)
    command: list[str | Path] = [BIN / "lattice-agent", "-server", plane.url, "-node-id", NODE, "--token-file", token]
    command += ["-allow-exec=true", "--state-dir", plane.place / "state", *flags]
    if os.geteuid() == 0:
        command += ["-allow-root-exec=true"]
    with process(command, plane.place / "agent.log") as running:
        yield running


def wait_online(plane: Plane) -> None:
    wait_until(lambda: bool(plane.api.get(f"/api/v1/nodes/{NODE}").json()["node"]["online"]))


@contextmanager
def process(command: list[str | Path], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LATTICE_")}
    with log.open("wb") as output:
        running = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            yield running
        finally:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(30)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


def wait_until(condition: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the benchmark's rig did not come up")
        time.sleep(0.01)


def machine() -> str:
    """One line that names where the figures were taken."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "?")
    return f"{os.cpu_count()} x {model}, Linux {os.uname().release}, Python {sys.version.split()[0]}"


def emit(as_json: bool, figures: dict[str, Any], lines: list[str]) -> None:
    """Print for people or for machines."""
    print(json.dumps(figures) if as_json else "\n".join(lines))
