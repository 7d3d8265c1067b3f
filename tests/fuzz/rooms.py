"""Where targets are: a file for each room, loaded when one of its targets is asked for."""

import importlib
from typing import Final

from tests.fuzz.target import Target

ROOMS: Final = ("wire", "link", "stream", "usage", "facts", "tree", "settings", "sandbox", "state", "api", "control")


def targets_of(room: str) -> tuple[Target, ...]:
    """Those of one room."""
    targets: tuple[Target, ...] = importlib.import_module(f"tests.fuzz.targets.{room}").TARGETS
    return targets


def all_targets() -> tuple[Target, ...]:
    """Every one, by room."""
    return tuple(target for room in ROOMS for target in targets_of(room))


def find(name: str) -> Target:
    """The target of that name; ``planted`` are those that have a fault on purpose."""
    room = name.partition(".")[0]
    module = "tests.fuzz.planted" if room == "planted" else f"tests.fuzz.targets.{room}"
    found: dict[str, Target] = {target.name: target for target in importlib.import_module(module).TARGETS}
    return found[name]
