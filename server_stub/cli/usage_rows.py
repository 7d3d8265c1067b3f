"""Proxy traffic as rows: for people (``Column``, text) and for programs (titles, plain values)."""

from collections.abc import Iterator, Sequence
from typing import Final

from server_stub.cli.answers import Booking, Collector, UsageAnswer, UserUsage
from server_stub.cli.export import Cell, comma_separated
from server_stub.cli.text import Column, moment, size, table

_USER_COLUMNS: Final = (
    Column("USER"),
    Column("NAME"),
    Column("STATUS"),
    Column("USED", right=True),
    Column("QUOTA", right=True),
    Column("LAST SEEN"),
    Column("PER NODE"),
)
_NODE_COLUMNS: Final = (
    Column("NODE"),
    Column("SOURCE"),
    Column("STATUS"),
    Column("CHECKED"),
    Column("LAST REPORT"),
    Column("ERROR"),
)
_BOOKING_COLUMNS: Final = (Column("FROM"), Column("USER"), Column("NODE"), Column("TRANSFERRED", right=True))
_USER_TITLES: Final = ("user", "name", "status", "used_bytes", "quota_bytes", "last_seen_at")
_BOOKING_TITLES: Final = ("start", "user", "node", "bytes")


def usage_lines(usage: UsageAnswer) -> Iterator[str]:
    """Users, then collectors."""
    if usage.users:
        yield from table(_USER_COLUMNS, map(_user_row, usage.users))
    if usage.users and usage.nodes:
        yield ""
    if usage.nodes:
        yield from table(_NODE_COLUMNS, map(_node_row, usage.nodes))


def usage_export(usage: UsageAnswer) -> str:
    """Users as comma-separated values; collectors are no part of a bill."""
    return comma_separated(_USER_TITLES, map(_user_cells, usage.users))


def booking_lines(bookings: Sequence[Booking]) -> list[str]:
    return table(_BOOKING_COLUMNS, ((moment(b.start), b.user_id, b.node_id, size(b.bytes)) for b in bookings))


def booking_export(bookings: Sequence[Booking]) -> str:
    return comma_separated(_BOOKING_TITLES, ((b.start, b.user_id, b.node_id, b.bytes) for b in bookings))


def _user_row(user: UserUsage) -> tuple[str, ...]:
    return (
        user.id,
        user.name,
        user.status,
        size(user.used_bytes),
        size(user.quota_bytes) if user.quota_bytes else "none",
        moment(user.last_seen_at),
        ", ".join(f"{node} {size(count)}" for node, count in user.per_node.items()),
    )


def _user_cells(user: UserUsage) -> tuple[Cell, ...]:
    return user.id, user.name, user.status, user.used_bytes, user.quota_bytes, user.last_seen_at


def _node_row(node: Collector) -> tuple[str, ...]:
    return (
        node.node_id,
        node.collector_source,
        node.collector_status,
        moment(node.checked_at),
        moment(node.last_report_at),
        node.collector_error,
    )
