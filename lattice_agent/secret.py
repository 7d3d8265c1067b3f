"""A string that never shows itself in a repr, a log line or a traceback's locals."""

import hmac
from typing import Final


class Secret:
    """Holds a credential; ``reveal()`` is the one way to the text, so that every use can be found by name."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text: Final = text

    def reveal(self) -> str:
        """The credential itself, for the one place that sends it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    __hash__ = None  # type: ignore[assignment]  # a secret is not a key of anything

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")
