"""Which extensions may be used now: what the control plane announced last, less what it turned out not to speak."""

from collections.abc import Callable, Iterable


class Features:
    """Shared by the services; changed by hello, the config poll and whoever finds an extension not working."""

    def __init__(self) -> None:
        self._announced: frozenset[str] = frozenset()
        self._withdrawn: frozenset[str] = frozenset()
        self._is_heard = False
        self._listeners: list[Callable[[], None]] = []  # as many as there are services that ask, for life

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` after every change, for ever."""
        self._listeners.append(callback)

    def announced(self, names: Iterable[str]) -> None:
        """Take over an announcement; one that stops being announced may be tried anew when it comes back."""
        names = frozenset(names)
        self._is_heard = True
        if names != self._announced:
            self._announced = names
            self._withdrawn &= names
            self._tell()

    def withdraw(self, name: str) -> None:
        """Stop using an extension that is announced but does not work."""
        self._withdrawn |= {name}
        self._tell()

    @property
    def is_heard(self) -> bool:
        """Whether the control plane has said in this life of the agent what it speaks."""
        return self._is_heard

    def has(self, name: str) -> bool:
        """Whether the extension may be used."""
        return name in self._announced and name not in self._withdrawn

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
