"""``kill-switch``: stop handing out tasks to the whole fleet."""

import argparse
import os

from server_stub.cli.answers import KillSwitchAnswer, read
from server_stub.cli.command import Command, connect
from server_stub.cli.screen import Screen


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("state", choices=("on", "off", "show"), help="on: no task leaves the server; %(choices)s")


def _run(args: argparse.Namespace, screen: Screen) -> int:
    with connect(args) as api:
        if args.state == "show":
            answer = api.get(("kill-switch",))
        else:
            answer = api.post(("kill-switch",), {"enabled": args.state == "on"})
    if args.json:
        screen.document(answer)
        return os.EX_OK
    if read(KillSwitchAnswer, answer).task_execution_disabled:
        screen.lines(["the kill switch is on: no task is created or leased"])
    else:
        screen.lines(["the kill switch is off: tasks are created and leased"])
    return os.EX_OK


COMMAND = Command(
    words=("kill-switch",),
    summary="stop or resume task execution for the whole fleet",
    details="Scripts that already run are not ended, and their results are accepted.",
    add_arguments=_add_arguments,
    run=_run,
)
