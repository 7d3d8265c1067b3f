"""What may be a password of an operator."""

from typing import Final

from server_stub.errors import Refused

SHORTEST: Final = 12
LONGEST: Final = 1_024
"""Characters; an end, because a password is hashed whole."""


def check_password(password: str) -> str:
    """The password as it is. ``Refused`` 400 if it is too short or too long; nothing of it is repeated."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise Refused(400, f"password: must have {SHORTEST} to {LONGEST} characters, this one has {len(password)}")
    return password
