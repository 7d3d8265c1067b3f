"""What a query may ask for. Those of operators are read from these models, and refuse what they don't know; the ones of
the agents' wire say what its endpoints look at, and others are ignored there, as in the reference."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, Field
from pydantic.config import JsonValue

from lattice_agent.wire.base import Time
from lattice_agent.wire.ext import MAX_LEASES
from server_stub.api.orders import Order
from server_stub.rules.metric_history import WINDOWS
from server_stub.rules.states import TaskStatus

MAX_WAIT_S: Final = 60
_DEFAULT_ROWS: Final = 100
_MAX_ROWS: Final = 1_000
_DIGITS: Final = 16
"""Of the longest number that is read; nothing here counts further."""


def _number(given: object) -> object:
    """Plain digits, unlike ``int``: no sign, no blank, no underscore, no other script."""
    if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) <= _DIGITS:
        return int(given)
    return given


Rows = Annotated[int, Field(ge=0, le=_MAX_ROWS), BeforeValidator(_number)]


class FindUsage(Order):
    """Empty means all."""

    user: str = ""
    node: str = ""


class FindBookings(FindUsage):
    """``from`` is included, ``to`` is not; left out, the server has its defaults."""

    by: Literal["hour", "day", "month"]
    since: Annotated[Time, Field(alias="from")] = None
    until: Annotated[Time, Field(alias="to")] = None


class FindTasks(Order):
    """Left out means all."""

    node: str | None = None
    status: Annotated[TaskStatus | None, Field(strict=False)] = None
    limit: Rows = _DEFAULT_ROWS


class ShowTask(Order):
    """``wait_s``: the answer comes when the task has ended, or after so many seconds as it then is. ``script``: 1 for
    an answer with it."""

    wait_s: Annotated[int, Field(ge=0, le=MAX_WAIT_S), BeforeValidator(_number)] = 0
    script: Annotated[int, Field(ge=0, le=1), BeforeValidator(_number)] = 0


class FollowOutput(BaseModel):
    """``position``: what is known already. An EventSource that connects again says it in ``Last-Event-ID``."""

    node: Annotated[str, Field(min_length=1)]
    position: Annotated[int, Field(ge=0, lt=10**15)] = 0


class FindEvents(Order):
    """Left out means all; ``q`` is in any of the texts, ``before`` an id for paging (0: none)."""

    action: str | None = None
    node: str | None = None
    limit: Rows = _DEFAULT_ROWS
    q: Annotated[str, Field(max_length=256)] = ""
    before: Annotated[int, Field(ge=0, le=10**15), BeforeValidator(_number)] = 0


class FindMetrics(Order):
    """How far back, in the words of ``rules.metric_history.WINDOWS``."""

    range: Annotated[str, Field(json_schema_extra={"enum": list[JsonValue](WINDOWS)})] = "1h"


class AsNode(BaseModel):
    """Every query of an agent: the id must be the token's own."""

    node_id: str


class PollTasks(AsNode):
    """``max``: extension ``tasks.batch``; left out, 3."""

    max: Annotated[int, Field(ge=1, le=MAX_LEASES)] = 3


class OfSession(AsNode):
    session_id: str = ""
