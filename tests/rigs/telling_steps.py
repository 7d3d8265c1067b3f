"""Runs one script with a spawner whose steps tell what they do as they are carried out: a process of its own.

Argument: a level. Prints a JSON list of [name, description], in the order in which the steps were carried out, of the
template and then of the cell. A step tells from where it is carried out: the last one of a cell, where only the
script's standard error is left, says it for all before it; the last one of a template writes to the spawner's.
"""

import json
import os
import subprocess
import sys
import tempfile

import trio

from lattice_agent.exec import launch
from lattice_agent.exec.kernel import seqpacket
from lattice_agent.exec.launch import SpawnerProcess
from lattice_agent.exec.library import plan_for
from lattice_agent.exec.outcome import Outcome
from lattice_agent.exec.plan import Level, Plan, Profile
from lattice_agent.exec.runner import open_runner

RUN_S = 30
TELL = """
import json, os
from lattice_agent.exec import cell_steps, template
from lattice_agent.exec.step import Step

def telling(step, told, last):
    def run(values):
        if any(name == step.name for name, _ in told):
            told.clear()  # these were of another cell
        told.append([step.name, step.describe(values)])
        text = json.dumps(told).encode() + bytes([10])
        if step is last and hasattr(values, "recipe"):
            values.recipe.call("write", 2, text, len(text))
        elif step is last:
            os.write(2, text)
        step.run(values)
    return Step(step.name, run, step._words, step.reason, step.applies)

for module, table in ((cell_steps, "CELL_STEPS"), (template, "TEMPLATE_STEPS")):
    steps, told = getattr(module, table), []
    setattr(module, table, tuple(telling(step, told, steps[-1]) for step in steps))
"""


def start_telling_spawner(errors: int) -> SpawnerProcess:
    """A spawner as ever, but for what its steps tell; ``errors``: descriptor of its standard error."""
    ours, theirs = seqpacket.pair()
    program = launch._program(theirs.fileno())
    start = program.index("from lattice_agent")
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", program[:start] + "\n" + TELL + program[start:]],
            env={},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    return SpawnerProcess(process, ours)


async def run(plan: Plan, errors: int) -> Outcome:
    with trio.fail_after(RUN_S):
        async with open_runner(start_telling_spawner(errors)) as runner:
            return await runner.run(plan)


def main() -> None:
    with tempfile.TemporaryFile() as errors:
        outcome = trio.run(run, plan_for(":", Profile(Level(sys.argv[1]))), errors.fileno())
        of_template = os.pread(errors.fileno(), 1 << 20, 0)
    told = [json.loads(line) for line in (*of_template.splitlines(), *outcome.stderr.kept.splitlines())]
    print(json.dumps([step for steps in told for step in steps]))


if __name__ == "__main__":
    main()
