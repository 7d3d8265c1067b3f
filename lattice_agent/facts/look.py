"""One look at a host: every file is read at most once, so that all figures of a sample are of one moment."""

from pathlib import Path

from lattice_agent.facts.rooted import read_text


class Look:
    """Texts of files below ``root``, read when they are first asked for. For one sample, then thrown away."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._texts: dict[str, str] = {}

    def text(self, path: str) -> str:
        """As ``rooted.read_text``: "" for what cannot be read."""
        known = self._texts.get(path)
        if known is None:
            known = self._texts[path] = read_text(self.root, path)
        return known
