"""What happened in a run, line by line; and the first thing that must not."""

import trio


class Violated(Exception):  # noqa: N818  # a finding, not an error of the simulator
    """An invariant does not hold. The text names it and says what was seen."""


class Trace:
    """Lines of ``time  who  what``. Nothing in them depends on the machine."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.violations: list[str] = []

    def note(self, who: str, what: str) -> None:
        self.lines.append(f"{trio.current_time():10.3f}  {who:<8}  {what}")

    def violated(self, invariant: str, what: str) -> None:
        """Goes on: what comes next may tell why."""
        self.violations.append(f"{invariant}: {what}")
        self.note("CHECK", f"VIOLATED {invariant}: {what}")
