"""All books of a node, in memory and on disk: what ``ledger`` and ``billing`` decide is on disk before it shows."""

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from pydantic import TypeAdapter, ValidationError
from pydantic.main import IncEx

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.billing import Billing, unanswered
from lattice_agent.usage.ledger import Moment, SourceBook, summed, take_reading
from lattice_agent.usage.ledger_account import LedgerAccount
from lattice_agent.usage.normalise import Counters

log = logging.getLogger(__name__)

SEQ_BLOCK: Final = 1_000
"""Numbers of ledger reports that are taken from disk at once; a crash skips the rest of a block."""

_SOURCE: Final = "source:"
_STANDING: Final = "standing"
_PENDING: Final = "pending"
"""The bytes of the values report on its way, apart from the rest: in JSON they would be twice as long."""

_BODY_APART: Final[IncEx] = {"billing": {"pending": {"body": True}}}


class DocumentStore(Protocol):
    """Durable documents by name. ``put`` returns when all of them are on disk, and raises when none is; ``None`` is to
    delete one."""

    async def load(self) -> Mapping[str, bytes]: ...
    async def put(self, documents: Mapping[str, bytes | None]) -> None: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """Where things stand with the server; ``seq_limit`` is the first number that was not taken from disk yet."""

    ledger_id: str
    billing: Billing = field(default_factory=Billing)
    account: LedgerAccount = field(default_factory=LedgerAccount)
    seq_limit: int = 0


_BOOK: Final = TypeAdapter(SourceBook)
_STANDINGS: Final = TypeAdapter(Standing)


class UsageBooks:
    """The books of one node at one control plane. Open them with ``load``; for one caller of each method at a time."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store
        self._books: dict[str, SourceBook] = {}
        self._standing = Standing(_new_ledger_id())
        self._seq = 0

    @property
    def standing(self) -> Standing:
        """As it is on disk."""
        return self._standing

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that were read at least once."""
        return tuple(self._books)

    def totals(self) -> dict[str, int]:
        """Bytes by key over all sources, as they are on disk."""
        return summed(self._books)

    async def load(self) -> None:
        """What an earlier life of the agent left; or a new ledger, when there is nothing, or not all can be read."""
        documents = await self._store.load()
        try:
            books = {name: _BOOK.validate_json(documents[_SOURCE + name]) for name in _source_names(documents)}
            standing = _with_body(_STANDINGS.validate_json(documents[_STANDING]), documents)
        except (KeyError, ValidationError) as error:
            if documents:
                log.error("the usage ledger in state.db cannot be read, a new one is begun: %s", _reason(error))
            # All of it: totals without what was billed of them would be billed again.
            await self._save(self._standing, dict.fromkeys(documents))
            return
        self._books = books
        # What an earlier life left on its way may have arrived: it can have died before it knew.
        self._standing = replace(standing, billing=unanswered(standing.billing))
        self._seq = self._standing.seq_limit

    def forget_fate(self) -> None:
        """An answer could not be entered: from now on it is not known whether the report on its way arrived."""
        self._standing = replace(self._standing, billing=unanswered(self._standing.billing))

    async def take(self, source: str, counters: Counters, now: Moment, ended: Moment | None = None) -> None:
        """Enters a reading that began ``now``. ``UsageSourceError`` when it cannot be true; nothing is entered then.

        A reading that moves nothing is not written: the one on disk proves a later restart as well.
        """
        before = self._books.get(source)
        book = take_reading(before, counters, now, ended)
        if before is None or _has_moved(before, book):
            await self._store.put({f"{_SOURCE}{source}": _BOOK.dump_json(book)})
        self._books[source] = book

    async def set_standing(self, billing: Billing, account: LedgerAccount | None = None) -> None:
        """Enters what was sent or answered; nothing is written when that changes nothing."""
        standing = replace(self._standing, billing=billing, account=account or self._standing.account)
        if standing != self._standing:
            await self._save(standing, {})

    async def next_seq(self) -> int:
        """A number above all that were given before, by this life or an earlier one."""
        self._seq += 1
        if self._seq > self._standing.seq_limit:
            await self._save(replace(self._standing, seq_limit=self._standing.seq_limit + SEQ_BLOCK), {})
        return self._seq

    async def _save(self, standing: Standing, also: Mapping[str, bytes | None]) -> None:
        body = _body_of(standing)
        if body != _body_of(self._standing):
            also = {**also, _PENDING: body}
        await self._store.put({**also, _STANDING: _STANDINGS.dump_json(standing, exclude=_BODY_APART)})
        self._standing = standing


def totals_in(documents: Mapping[str, bytes]) -> dict[str, int]:
    """Bytes by key over all sources, out of the documents; ``UsageSourceError`` when one cannot be read."""
    try:
        return summed({name: _BOOK.validate_json(documents[_SOURCE + name]) for name in _source_names(documents)})
    except ValidationError as error:
        raise UsageSourceError(f"the ledger cannot be read: {_reason(error)}") from None


def _new_ledger_id() -> str:
    return secrets.token_hex(16)


def _body_of(standing: Standing) -> bytes | None:
    return None if standing.billing.pending is None else standing.billing.pending.body


def _with_body(standing: Standing, documents: Mapping[str, bytes]) -> Standing:
    pending = standing.billing.pending
    if pending is None:
        return standing
    billing = replace(standing.billing, pending=replace(pending, body=documents[_PENDING]))
    return replace(standing, billing=billing)


def _source_names(documents: Mapping[str, bytes]) -> list[str]:
    return [name.removeprefix(_SOURCE) for name in documents if name.startswith(_SOURCE)]


def _has_moved(before: SourceBook, book: SourceBook) -> bool:
    says_more = book.uptime_s > 0 and before.uptime_s == 0
    is_other_run = book.taken.boot_id != before.taken.boot_id or book.uptime_s < before.uptime_s
    return says_more or is_other_run or book.raw != before.raw or book.totals != before.totals


def _reason(error: KeyError | ValidationError) -> str:
    if isinstance(error, KeyError):
        return f"document {error} is missing"
    return error.errors(include_url=False, include_input=False, include_context=False)[0]["msg"]
