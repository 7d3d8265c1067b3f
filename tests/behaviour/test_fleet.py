"""A small fleet of simulated agents on one server: the benchmark's own way, judged by counts and not by times."""

import json
import subprocess
import sys

import pytest

from tests.rigs.server_process import ROOT

pytestmark = pytest.mark.long

AGENTS = 60
OUTER_LIMIT_S = 120


def test_every_agent_is_heard_and_comes_back_after_a_restart() -> None:
    command = [
        sys.executable,
        "bench/fleet.py",
        "--json",
        "--agents",
        str(AGENTS),
        "--interval",
        "1",
        "--intervals",
        "3",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=OUTER_LIMIT_S, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    figures = json.loads(ran.stdout)
    assert figures["agents"] == AGENTS
    assert figures["refused_beats"] == 0
    assert figures["agents_back"] == AGENTS + 1  # and the one that memory is compared with
    assert 1 <= figures["most_opened_in_one_second"] <= figures["opened"] <= figures["asked"]
