"""Proxy usage: by day and month, by node, by user."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from server_stub.actions.registry import get_node
from server_stub.actions.users import get_user
from server_stub.api.plane import plane_of
from server_stub.dashboard.bar_charts import BarChart, bar_chart
from server_stub.dashboard.pages import render
from server_stub.dashboard.user_rows import UserRow, user_row
from server_stub.dashboard.visits import Visitor, page
from server_stub.rules.billing_calendar import Span, start_of
from server_stub.store.base import Tables
from server_stub.store.records import BookingQuery, Profile, UserQuery

_PAGE: Final = 50
_LONGEST: Final = 128
_DAYS: Final = 30
_MONTHS: Final = 12
_NODES: Final = 200
"""Nodes in the table, by id; the API has the rest."""


@dataclass(frozen=True)
class Totals:
    """A chart of bytes, and its figures."""

    title: str
    drawn: BarChart
    total: float


@dataclass(frozen=True)
class NodeRow:
    """A node whose usage is counted, with what was ever counted there (of the user looked at, if one is)."""

    profile: Profile
    bytes: int


@dataclass(frozen=True)
class Usage:
    """One page of users, and everything above it."""

    totals: tuple[Totals, ...]
    nodes: tuple[NodeRow, ...]
    more_nodes: bool
    users: tuple[UserRow, ...]
    more_users: bool


async def show_usage(request: Request, _visitor: Visitor) -> Response:
    plane = plane_of(request)
    given = request.query_params
    query = UserQuery(*(given.get(name, "")[:_LONGEST].strip() for name in ("q", "node", "after", "user")))
    now = plane.now()
    usage = await plane.read(lambda tables: _usage(tables, query, now))
    return render(request, "usage.html", usage=usage, query=query, now=now, next_page=_next_page(query, usage))


def _usage(tables: Tables, query: UserQuery, now: datetime) -> Usage:
    """``Refused`` 404 for a user or node that there is not: it must not pass for one without traffic."""
    if query.user_id:
        get_user(tables, query.user_id)
    if query.node_id:
        get_node(tables, query.node_id)
    users = tables.usage.find(query, _PAGE + 1)
    profiles = [one for one in tables.usage.profiles() if query.node_id in ("", one.node_id)]
    counted = tables.usage.bytes_by_node(query.user_id)
    return Usage(
        (_by_day(tables, query, now), _by_month(tables, query, now)),
        tuple(NodeRow(profile, counted.get(profile.node_id, 0)) for profile in profiles[:_NODES]),
        len(profiles) > _NODES,
        tuple(user_row(user, now) for user in users[:_PAGE]),
        len(users) > _PAGE,
    )


def _by_day(tables: Tables, query: UserQuery, now: datetime) -> Totals:
    today = start_of(Span.DAY, now)
    days = [today - timedelta(days=back) for back in reversed(range(_DAYS))]
    totals = dict(tables.bookings.totals(BookingQuery(Span.DAY, days[0], None, query.user_id, query.node_id)))
    values = [(day.strftime("%d %b"), totals.get(day, 0.0)) for day in days]
    return _totals(f"The last {_DAYS} days", values)


def _by_month(tables: Tables, query: UserQuery, now: datetime) -> Totals:
    """A billing month counts in the calendar's month in which it began."""
    months = last_months(now, _MONTHS)
    totals = dict.fromkeys(months, 0.0)
    for start, count in tables.bookings.totals(BookingQuery(Span.MONTH, months[0], None, query.user_id, query.node_id)):
        month = start_of(Span.MONTH, start)
        totals[month] = totals.get(month, 0.0) + count
    return _totals(f"The last {_MONTHS} months", [(month.strftime("%b %y"), count) for month, count in totals.items()])


def last_months(now: datetime, count: int) -> list[datetime]:
    """Beginnings of so many calendar months, oldest first, the present one last."""
    months = [start_of(Span.MONTH, now)]
    while len(months) < count:
        months.append(start_of(Span.MONTH, months[-1] - timedelta(days=1)))
    return months[::-1]


def _totals(title: str, values: Sequence[tuple[str, float]]) -> Totals:
    return Totals(title, bar_chart(values), sum(value for _, value in values))


def _next_page(query: UserQuery, usage: Usage) -> str:
    if not usage.more_users:
        return ""
    fields = {"q": query.text, "node": query.node_id, "after": usage.users[-1].user.account.user_id}
    return "/usage?" + urlencode({name: value for name, value in fields.items() if value})


def routes() -> list[BaseRoute]:
    return [page("/usage", show_usage)]
