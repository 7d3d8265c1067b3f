"""One look at a host: every file is read at most once, so that all figures of a sample are of one moment."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from lattice_agent.facts.rooted import read_text

T = TypeVar("T")


class Look:
    """Texts of files below ``root``, read when they are first asked for, and what is made of them.

    For one sample, then thrown away.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._texts: dict[str, str] = {}
        self._made: dict[Any, Any] = {}

    def text(self, path: str) -> str:
        """As ``rooted.read_text``: "" for what cannot be read."""
        known = self._texts.get(path)
        if known is None:
            known = self._texts[path] = read_text(self.root, path)
        return known

    def once(self, make: Callable[..., T], *arguments: Any) -> T:
        """``make(*arguments)``, worked out once for all who ask. Arguments are hashable; the result is not changed."""
        key = (make, arguments)
        if key not in self._made:
            self._made[key] = make(*arguments)
        made: T = self._made[key]
        return made
