"""Hundreds of idle agents on one control plane: heartbeats, memory, and what a restart of the server does.

    python bench/fleet.py [--json] [--agents 500] [--interval 10] [--intervals 4]

Every agent has a control stream, and a heartbeat over a connection that is kept, over real sockets on loopback without
TLS; they run in this process, the server in its own. Memory is the growth of the server's PSS from one agent to all,
divided by their number, when all have been idle for the whole time. On time: the longest time between two heartbeats
that were answered, over the interval. Then the server is stopped with SIGTERM and started again at once; the clock runs
from the signal until the last stream is back, and the greatest number of streams opened within any second is counted.
"""

import argparse
import asyncio
import itertools
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import uvloop
from rig import BIN, emit, machine
from simulated_agent import SimulatedAgent

START_SECONDS = 30.0
BACK_SECONDS = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--agents", type=int, default=500)
    parser.add_argument("--interval", type=float, default=10.0, help="seconds between two heartbeats of an agent")
    parser.add_argument("--intervals", type=float, default=4.0, help="how many of them are watched")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lattice-fleet-") as name:
        figures = uvloop.run(measured(Path(name), options.agents, options.interval, options.intervals))
    lines = [
        f"machine: {figures['machine']}",
        f"{figures['agents']} agents: longest time between two heartbeats {figures['longest_gap_s']:.1f} s "
        f"({figures['longest_gap_intervals']:.2f} intervals), {figures['refused_beats']} refused",
        f"server memory per idle agent: {figures['pss_per_agent_kib']:.1f} KiB (PSS; with one agent "
        f"{figures['pss_one_kib'] / 1024:.1f} MiB, with all {figures['pss_all_kib'] / 1024:.1f} MiB), "
        f"CPU {figures['cpu_percent']:.1f} % of one core",
        f"restart: server away {figures['away_s']:.1f} s, all streams back after {figures['back_s']:.1f} s, "
        f"at most {figures['most_opened_in_one_second']} opened and {figures['most_asked_in_one_second']} asked for "
        "within one second",
    ]
    emit(options.json, figures, lines)


async def measured(place: Path, number: int, interval_s: float, intervals: float) -> dict[str, Any]:
    server = Server(place)
    server.start()
    try:
        tokens = register(server, place, number + 1)
        agents = [SimulatedAgent(*server.address, node, token, interval_s) for node, token in tokens.items()]
        running = [asyncio.create_task(agents[0].run())]
        await until(lambda: len(agents[0].seen.beats) >= 2 and agents[0].seen.open)
        one_kib = server.pss_kib()
        running += [asyncio.create_task(agent.run()) for agent in agents[1:]]
        await until(lambda: all(agent.seen.open and agent.seen.beats for agent in agents))
        cpu = server.cpu_seconds()
        await asyncio.sleep(interval_s * intervals)
        watched_s = interval_s * intervals
        cpu_percent = 100 * (server.cpu_seconds() - cpu) / watched_s
        all_kib = server.pss_kib()
        gap_s = longest_gap(agents)
        back = await restarted(server, agents)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    finally:
        server.stop()
    return {
        "machine": machine(),
        "agents": number,
        "longest_gap_s": gap_s,
        "longest_gap_intervals": gap_s / interval_s,
        "refused_beats": sum(agent.seen.refused_beats for agent in agents),
        "pss_one_kib": one_kib,
        "pss_all_kib": all_kib,
        "pss_per_agent_kib": (all_kib - one_kib) / number,
        "cpu_percent": cpu_percent,
        **back,
    }


async def restarted(server: "Server", agents: list[SimulatedAgent]) -> dict[str, float]:
    began = time.monotonic()
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    away_s = time.monotonic() - began
    await until(lambda: all(agent.seen.open for agent in agents), BACK_SECONDS)
    opened = sorted(moment for agent in agents for moment in agent.seen.stream_opened if moment > began)
    asked = [moment for agent in agents for moment in agent.seen.stream_asked if moment > began]
    return {
        "away_s": away_s,
        "back_s": opened[-1] - began,
        "asked": len(asked),
        "opened": len(opened),
        "most_asked_in_one_second": most_in_one_second(asked),
        "most_opened_in_one_second": most_in_one_second(opened),
        "agents_back": sum(agent.seen.stream_opened[-1] > began for agent in agents),
    }


def most_in_one_second(moments: list[float]) -> int:
    return max(sum(1 for other in moments if 0 <= other - moment < 1) for moment in moments)


def longest_gap(agents: list[SimulatedAgent]) -> float:
    now = time.monotonic()
    gaps = (later - earlier for agent in agents for earlier, later in itertools.pairwise([*agent.seen.beats, now]))
    return max(gaps)


def register(server: "Server", place: Path, number: int) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {(place / 'operator').read_text().strip()}"}
    with httpx.Client(base_url=server.url, headers=headers, trust_env=False) as api:
        return {
            f"node-{index}": api.post("/api/v1/nodes", json={"id": f"node-{index}"}).raise_for_status().json()["token"]
            for index in range(number)
        }


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # of many agents, and of another process
            await asyncio.sleep(0.02)


class Server:
    """``lattice-control serve``, which can be stopped and started again on the same port and database."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as holder:
            self.address: tuple[str, int] = holder.getsockname()[:2]

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self.address)

    def start(self) -> None:
        ready = self._place / "ready"
        ready.unlink(missing_ok=True)
        files = ["--db", self._place / "db", "--init-token-file", self._place / "operator", "--ready-file", ready]
        listen = "{}:{}".format(*self.address)
        with (self._place / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [BIN / "lattice-control", "serve", "--listen", listen, *files], stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the server did not start:\n{(self._place / 'log').read_text()}")
            time.sleep(0.01)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def pss_kib(self) -> int:
        assert self._process is not None
        rollup = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))

    def cpu_seconds(self) -> float:
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100


if __name__ == "__main__":
    main()
