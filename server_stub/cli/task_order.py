"""The options that say what to run and where, and the request that they become; ``task run`` and ``task preview``."""

import argparse
from fractions import Fraction
from typing import Final

from server_stub.cli.arguments import identifier, seconds, tag, whole
from server_stub.cli.errors import RequestRefusedError, UsageError
from server_stub.cli.script import read_script, whole_timeout
from server_stub.cli.text import duration
from server_stub.rules.task_limits import (
    DEFAULT_OUTPUT_BYTES,
    DEFAULT_TIMEOUT_S,
    INTERPRETERS,
    MAX_OUTPUT_BYTES,
    MAX_QUEUE_TIMEOUT_S,
    MAX_SCRIPT_BYTES,
    MAX_TIMEOUT_S,
)

_MOST_TARGETS: Final = 1_000_000  # no fleet has more; what the server takes it says


def add_order_arguments(parser: argparse.ArgumentParser) -> None:
    """The script, its limits and its targets."""
    parser.add_argument(
        "script", metavar="FILE", help=f"the script, up to {MAX_SCRIPT_BYTES} bytes of UTF-8; - for standard input"
    )
    parser.add_argument(
        "--node", metavar="NODE", type=identifier, action="append", default=[], help="where to run it; may be repeated"
    )
    parser.add_argument(
        "--tag",
        metavar="TAG",
        type=tag,
        action="append",
        default=[],
        help="instead of --node: every enabled node that has this tag; repeated: all of these tags",
    )
    parser.add_argument("--interpreter", choices=INTERPRETERS, required=True, metavar="NAME", help="%(choices)s")
    parser.add_argument(
        "--timeout",
        metavar="DURATION",
        type=seconds,
        help=f"1s to {MAX_TIMEOUT_S}s, such as 90, 30s or 1m30s; {DEFAULT_TIMEOUT_S}s if left out",
    )
    parser.add_argument(
        "--output-limit",
        metavar="BYTES",
        type=whole(1, MAX_OUTPUT_BYTES),
        help=f"bytes kept of each stream, 1 to {MAX_OUTPUT_BYTES}; {DEFAULT_OUTPUT_BYTES} if left out",
    )


def add_fan_out_arguments(parser: argparse.ArgumentParser) -> None:
    """How a task goes over many nodes."""
    parser.add_argument(
        "--concurrency",
        metavar="N",
        type=whole(1, _MOST_TARGETS),
        help="at most this many nodes at once; all if left out",
    )
    parser.add_argument(
        "--max-failures",
        metavar="M",
        type=whole(1, _MOST_TARGETS),
        help="once so many nodes have failed, those still queued are cancelled; never if left out",
    )
    parser.add_argument(
        "--queue-timeout",
        metavar="DURATION",
        type=seconds,
        help="a node that has not taken the task by then does not get it; never if left out",
    )


def order_body(args: argparse.Namespace) -> dict[str, object]:
    """The task as the server takes it; raises before anything is sent. Limits left out are the server's defaults."""
    if bool(args.node) == bool(args.tag):
        raise UsageError(
            "--node and --tag are both given" if args.node else "neither --node nor --tag is given",
            hint="name nodes with --node, or choose them by --tag",
        )
    body: dict[str, object] = {"nodes": args.node} if args.node else {"tags": args.tag}
    body["interpreter"] = args.interpreter
    if args.timeout is not None:
        body["timeout_sec"] = whole_timeout(args.timeout)
    if args.output_limit is not None:
        body["output_limit"] = args.output_limit
    return body | {"script": read_script(args.script)}


def fan_out_body(args: argparse.Namespace) -> dict[str, object]:
    """The part of ``add_fan_out_arguments``."""
    body: dict[str, object] = {}
    if args.concurrency is not None:
        body["concurrency"] = args.concurrency
    if args.max_failures is not None:
        body["max_failures"] = args.max_failures
    if args.queue_timeout is not None:
        body["queue_timeout_sec"] = _whole_queue_timeout(args.queue_timeout)
    return body


def _whole_queue_timeout(timeout: Fraction) -> int:
    if timeout.denominator != 1 or not 1 <= timeout <= MAX_QUEUE_TIMEOUT_S:
        raise RequestRefusedError(
            f"--queue-timeout is {duration(float(timeout))}",
            hint=f"give whole seconds from 1s to {MAX_QUEUE_TIMEOUT_S}s",
        )
    return int(timeout)
