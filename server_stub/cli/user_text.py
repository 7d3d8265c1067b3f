"""A proxy user in words: what it may transfer, where it is counted, until when."""

from server_stub.cli.answers import User
from server_stub.cli.text import moment, size


def quota(user: User) -> str:
    """Such as ``1.0 GiB a month from day 15``."""
    if not user.quota_bytes:
        return "none"
    return size(user.quota_bytes) + (f" a month from day {user.reset_day}" if user.reset_day else "")


def end(user: User) -> str:
    return moment(user.expires_at) if user.expires_at is not None else "never"


def places(user: User) -> str:
    return ", ".join(user.nodes) or "all"
