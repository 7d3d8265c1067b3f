"""One step of confinement: what it does, how it is described, why it is there. ``--explain`` prints what runs."""

from __future__ import annotations

from collections.abc import Callable

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would cost the spawner memory
    from typing import Any


class Step:
    """``run`` carries the step out on the values of a build; ``describe`` tells the same values in words."""

    __slots__ = ("_words", "applies", "name", "reason", "run")

    def __init__(
        self,
        name: str,
        run: Callable[[Any], None],
        words: str | Callable[[Any], str],
        reason: str,
        applies: Callable[[Any], bool] | None = None,
    ) -> None:
        self.name = name
        self.run = run
        self._words = words
        self.reason = reason
        self.applies = applies or _always

    def describe(self, values: object) -> str:
        """What the step does with these values."""
        return self._words if isinstance(self._words, str) else self._words(values)


def _always(_values: object) -> bool:
    return True


class StepError(Exception):
    """A step failed; the message names it and the operating system's reason."""


def carry_out(steps: tuple[Step, ...], values: object) -> None:
    """Run the steps in order. Raises StepError with the name of the first that fails."""
    for step in steps:
        try:
            step.run(values)
        except OSError as error:
            what = f" ({error.filename})" if error.filename else ""
            raise StepError(f"{step.name}: {error.strerror}{what}") from error
