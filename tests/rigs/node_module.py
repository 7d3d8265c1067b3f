"""A module of the web page in a node process of its own: values in, values out, as JSON lines."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STATIC = Path(__file__).parents[2] / "server_stub" / "dashboard" / "static"
_SERVE = """
import { createInterface } from "node:readline";
%s
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(answer(JSON.parse(line))) + "\\n");
}
"""


class NodeModule:
    """``ask`` calls the JavaScript function ``answer`` that the process was started with."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, value: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"node ended with {self._process.wait(10)}"
        return json.loads(line)


@contextmanager
def node_module(source: str) -> Iterator[NodeModule]:
    """Runs JavaScript that imports from ``STATIC`` by file URL (``{static}`` in ``source``) and defines ``answer``."""
    program = _SERVE % source.replace("{static}", STATIC.as_uri())
    command = ["node", "--input-type=module", "-e", program]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            yield NodeModule(process)
        finally:
            process.kill()
