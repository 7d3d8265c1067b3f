"""Signing in to the web page and out of it, and operators' passwords."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from server_stub.errors import Refused
from server_stub.rules.sessions import Session, ended_by_another, is_alive
from server_stub.store.base import Tables
from server_stub.store.records import BY_AGENT, AuditEvent, Operator

WRONG: Final = "name or password is wrong"


def open_session(tables: Tables, session: Session, proven: str | None, address: str) -> None:
    """Takes the new session in; what ``ended_by_another`` names goes.

    ``proven`` is the hash that the password was compared with. ``Refused`` 401 if it is no longer the operator's: who
    sets a password while an old one is being compared has ended all sessions, and that one must not begin after it.
    """
    if proven is None or tables.operators.password_hash(session.operator) != proven:
        raise Refused(401, WRONG)
    ended = ended_by_another(tables.sessions.of(session.operator), session.created_at)
    tables.sessions.remove([old.digest for old in ended])
    tables.sessions.add(session)
    event = AuditEvent(session.created_at, session.operator, "operator.login", session.operator)
    tables.audit.append(replace(event, detail={"address": address}))


def find_session(tables: Tables, digest: bytes, now: datetime) -> Session | None:
    """The session of this cookie while it is alive; none of a revoked operator."""
    session = tables.sessions.get(digest)
    return session if session is not None and is_alive(session, now) else None


def end_session(tables: Tables, session: Session, now: datetime) -> None:
    """Signs out."""
    tables.sessions.remove([session.digest])
    tables.audit.append(AuditEvent(now, session.operator, "operator.logout", session.operator))


def end_sessions(tables: Tables, operator: str, *, but: bytes = b"") -> None:
    """All of the operator's, except the one with this digest."""
    tables.sessions.remove([s.digest for s in tables.sessions.of(operator) if s.digest != but])


def set_password(
    tables: Tables, actor: str, name: str, encoded: str | None, now: datetime, *, keep: bytes = b""
) -> Operator:
    """Sets or clears (``None``) what the operator signs in with, and ends its sessions but ``keep``.

    ``Refused`` 404 for an operator that does not exist or was revoked.
    """
    valid = (operator for operator in tables.operators.all() if operator.revoked_at is None)
    operator = next((operator for operator in valid if operator.name == name), None)
    if operator is None:
        raise Refused(404, f"operator {name} not found")
    tables.operators.set_password(name, encoded)
    end_sessions(tables, name, but=keep)
    reason = "password cleared" if encoded is None else "password set"
    tables.audit.append(AuditEvent(now, actor, "operator.password", name, reason=reason))
    return operator


def note_refused_login(tables: Tables, address: str, now: datetime) -> None:
    """Without the name that was given: people type passwords into the wrong field. The caller bounds the rate."""
    what = ("anonymous", "operator.login", address)
    tables.audit.append(AuditEvent(now, *what, decision="deny", reason="wrong name or password", origin=BY_AGENT))
