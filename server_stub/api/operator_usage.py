"""The operators' API, third part: profiles, proxy users and what they have used."""

from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from server_stub.actions import users
from server_stub.actions.registry import get_node
from server_stub.api.answers import document
from server_stub.api.body import read_order, read_query
from server_stub.api.gate import admit_operator
from server_stub.api.orders import AddUser, ChangeUser, Nothing
from server_stub.api.plane import plane_of
from server_stub.api.queries import FindBookings, FindUsage
from server_stub.api.views import booking_view, profile_view, user_view
from server_stub.errors import Refused
from server_stub.rules.accounts import Account
from server_stub.rules.billing_calendar import Span, shown_since
from server_stub.store.base import Tables
from server_stub.store.records import Booking, BookingQuery, Profile, User
from server_stub.times import in_utc, text

MAX_BOOKINGS: Final = 100_000
"""In one answer, some 10 MB of it; who asks for more is told to ask for less."""


async def set_profile(request: Request) -> Response:
    plane = plane_of(request)
    actor = await admit_operator(request)
    await read_order(request, Nothing)
    node_id, now = request.path_params["node_id"], plane.now()
    profile = await plane.write(lambda tables: users.set_profile(tables, actor, node_id, now))
    return document({"profile": profile_view(profile)})


async def add_user(request: Request) -> Response:
    plane = plane_of(request)
    actor = await admit_operator(request)
    order = await read_order(request, AddUser)
    account = Account(
        order.id,
        quota_bytes=order.quota_bytes,
        enabled=order.enabled,
        expires_at=in_utc(order.expires_at),
        nodes=frozenset(order.nodes),
        reset_day=order.reset_day,
    )
    now, limit = plane.now(), plane.settings.limits.users
    user = await plane.write(lambda tables: users.add_user(tables, actor, account, order.name, now, limit))
    return document({"user": user_view(user, now)})


async def list_users(request: Request) -> Response:
    plane = plane_of(request)
    await admit_operator(request)
    now = plane.now()
    found = await plane.read(lambda tables: tables.usage.users())
    return document({"users": [user_view(user, now) for user in found]})


async def show_user(request: Request) -> Response:
    plane = plane_of(request)
    await admit_operator(request)
    user = await plane.read(partial(users.get_user, user_id=request.path_params["user_id"]))
    return document({"user": user_view(user, plane.now())})


async def change_user(request: Request) -> Response:
    """What is left out of the body stays."""
    plane = plane_of(request)
    actor = await admit_operator(request)
    order = await read_order(request, ChangeUser)
    changes: dict[str, Any] = {field: getattr(order, field) for field in order.model_fields_set}
    if "nodes" in changes:
        changes["nodes"] = frozenset(order.nodes)
    if "expires_at" in changes:
        changes["expires_at"] = in_utc(order.expires_at)
    user_id, now = request.path_params["user_id"], plane.now()
    user = await plane.write(lambda tables: users.change_user(tables, actor, user_id, changes, now))
    return document({"user": user_view(user, now)})


async def reset_user(request: Request) -> Response:
    plane = plane_of(request)
    actor = await admit_operator(request)
    await read_order(request, Nothing)
    user_id, now = request.path_params["user_id"], plane.now()
    user = await plane.write(lambda tables: users.reset_user(tables, actor, user_id, now))
    return document({"user": user_view(user, now)})


async def show_usage(request: Request) -> Response:
    plane = plane_of(request)
    await admit_operator(request)
    wanted, now = read_query(request, FindUsage), plane.now()
    found, profiles = await plane.read(partial(_usage_rows, wanted=wanted))
    return document(
        {
            "users": [user_view(user, now) for user in found],
            "nodes": [profile_view(profile) for profile in profiles],
        }
    )


def _usage_rows(tables: Tables, wanted: FindUsage) -> tuple[list[User], list[Profile]]:
    """All, or one user; all, or one node and who is counted there, with the bytes of that node."""
    _require(tables, wanted.user, wanted.node)
    found = tables.usage.users([wanted.user] if wanted.user else None)
    profiles = tables.usage.profiles()
    if not wanted.node:
        return found, profiles
    here = [
        replace(user, per_node={node: count for node, count in user.per_node.items() if node == wanted.node})
        for user in found
        if user.account.is_eligible(wanted.node)
    ]
    return here, [profile for profile in profiles if profile.node_id == wanted.node]


def _require(tables: Tables, user_id: str, node_id: str) -> None:
    """``Refused`` 404: a misspelt id must not pass for somebody without traffic."""
    if user_id:
        users.get_user(tables, user_id)
    if node_id:
        get_node(tables, node_id)


async def find_bookings(request: Request) -> Response:
    plane = plane_of(request)
    await admit_operator(request)
    query = _booking_query(read_query(request, FindBookings), plane.now())
    found = await plane.read(partial(_booking_rows, query=query))
    return document(
        {
            "by": query.span,
            "from": text(query.since),
            "to": text(query.until),
            "bookings": [booking_view(booking) for booking in found],
        }
    )


def _booking_query(wanted: FindBookings, now: datetime) -> BookingQuery:
    span = Span(wanted.by)
    since = in_utc(wanted.since) or shown_since(span, now)
    return BookingQuery(span, since, in_utc(wanted.until), wanted.user, wanted.node)


def _booking_rows(tables: Tables, query: BookingQuery) -> list[Booking]:
    _require(tables, query.user_id, query.node_id)
    found = tables.bookings.find(query, MAX_BOOKINGS + 1)
    if len(found) > MAX_BOOKINGS:
        raise Refused(400, f"there are more than {MAX_BOOKINGS} bookings; narrow from and to, or name a user or node")
    return found


def routes() -> list[BaseRoute]:
    return [
        Route("/api/v1/nodes/{node_id}/profile", set_profile, methods=["PUT"]),
        Route("/api/v1/users", add_user, methods=["POST"]),
        Route("/api/v1/users", list_users, methods=["GET"]),
        Route("/api/v1/users/{user_id}", show_user, methods=["GET"]),
        Route("/api/v1/users/{user_id}", change_user, methods=["POST"]),
        Route("/api/v1/users/{user_id}/reset", reset_user, methods=["POST"]),
        Route("/api/v1/usage", show_usage, methods=["GET"]),
        Route("/api/v1/usage/bookings", find_bookings, methods=["GET"]),
    ]
