"""``node tag``: the words by which tasks find a node."""

import argparse
import os

from server_stub.cli.answers import NodeAnswer, read
from server_stub.cli.arguments import identifier, tag
from server_stub.cli.command import Command, connect
from server_stub.cli.errors import UsageError
from server_stub.cli.screen import Screen
from server_stub.cli.text import visible


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", type=identifier, help="id of the node")
    parser.add_argument("tags", metavar="TAG", type=tag, nargs="*", help="its new tags, instead of those it has")
    parser.add_argument("--add", metavar="TAG", type=tag, action="append", default=[], help="one more; may be repeated")
    parser.add_argument(
        "--remove", metavar="TAG", type=tag, action="append", default=[], help="one less; may be repeated"
    )
    parser.add_argument("--clear", action="store_true", help="no tags at all")


def _run(args: argparse.Namespace, screen: Screen) -> int:
    changes = bool(args.add or args.remove)
    if bool(args.tags) + changes + args.clear > 1:
        raise UsageError("new tags, --add or --remove, and --clear exclude each other", hint="give one kind of change")
    path = ("nodes", args.node)
    with connect(args) as api:
        answer = api.get(path) if changes or not (args.tags or args.clear) else {}
        if changes:
            present = read(NodeAnswer, answer).node.tags
            kept = [*(word for word in present if word not in args.remove), *args.add]
            answer = api.post((*path, "tags"), {"tags": list(dict.fromkeys(kept))})
        elif args.tags or args.clear:
            answer = api.post((*path, "tags"), {"tags": list(dict.fromkeys(args.tags))})
    if args.json:
        screen.document(answer)
    else:
        tags = read(NodeAnswer, answer).node.tags
        screen.lines([f"node {args.node} has {'tags ' + visible(', '.join(tags)) if tags else 'no tags'}"])
    return os.EX_OK


COMMAND = Command(
    words=("node", "tag"),
    summary="set, change or show the tags of a node",
    details=(
        "Tasks for tags go to the nodes that have all of them when the task is made; later changes do not move a task. "
        "Without anything but the node, its tags are shown. --add and --remove read the tags first, so that one of two "
        "such commands at the same moment may be lost."
    ),
    add_arguments=_add_arguments,
    run=_run,
)
