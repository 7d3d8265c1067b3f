"""All books of a node, in memory and on disk: what ``ledger`` and ``billing`` decide is on disk before it shows."""

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from pydantic import TypeAdapter, ValidationError

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.billing import Billing, Pending, unanswered
from lattice_agent.usage.ledger import Moment, SourceBook, summed, take_reading
from lattice_agent.usage.ledger_account import LedgerAccount
from lattice_agent.usage.normalise import Counters

log = logging.getLogger(__name__)

SEQ_BLOCK: Final = 1_000
"""Numbers of ledger reports that are taken from disk at once; a crash skips the rest of a block."""

# What is on its way has documents of its own: thousands of totals would be written once more for every step of it. The
# bytes of a values report stand alone, because in JSON they would be twice as long.
_SOURCE: Final = "source:"
_STANDING: Final = "standing"
_PENDING: Final = "pending"
_BODY: Final = "pending body"
_TOLD: Final = "told"


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


_BOOKS: Final = TypeAdapter(SourceBook)
_STANDINGS: Final = TypeAdapter(Standing)
_PENDINGS: Final = TypeAdapter(Pending)
_TOTALS: Final = TypeAdapter(dict[str, int])


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
            books = _books_in(documents)
            standing = _standing_in(documents)
        except (KeyError, ValidationError) as error:
            if documents:
                log.error("the usage ledger in state.db cannot be read, a new one is begun: %s", _reason(error))
            # All of it: totals without what was billed of them would be billed again.
            await self._store.put({**dict.fromkeys(documents), _STANDING: _STANDINGS.dump_json(self._standing)})
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
            await self._store.put({f"{_SOURCE}{source}": _BOOKS.dump_json(book)})
        self._books[source] = book

    async def set_standing(self, billing: Billing, account: LedgerAccount | None = None) -> None:
        """Enters what was sent or answered; nothing is written when that changes nothing."""
        await self._save(replace(self._standing, billing=billing, account=account or self._standing.account))

    async def next_seq(self) -> int:
        """A number above all that were given before, by this life or an earlier one."""
        self._seq += 1
        if self._seq > self._standing.seq_limit:
            await self._save(replace(self._standing, seq_limit=self._standing.seq_limit + SEQ_BLOCK))
        return self._seq

    async def _save(self, standing: Standing) -> None:
        if documents := _changed(self._standing, standing):
            await self._store.put(documents)
        self._standing = standing


def _changed(before: Standing, after: Standing) -> dict[str, bytes | None]:
    """The documents that differ."""
    documents: dict[str, bytes | None] = {}
    if (rest := _without_what_is_on_its_way(after)) != _without_what_is_on_its_way(before):
        documents[_STANDING] = _STANDINGS.dump_json(rest)
    if (pending := after.billing.pending) != before.billing.pending:
        documents[_PENDING] = None if pending is None else _PENDINGS.dump_json(pending, exclude={"body"})
        documents[_BODY] = None if pending is None else pending.body
    if (told := after.account.told) != before.account.told:
        documents[_TOLD] = _TOTALS.dump_json(dict(told)) if told else None
    return documents


def _without_what_is_on_its_way(standing: Standing) -> Standing:
    billing, account = replace(standing.billing, pending=None), replace(standing.account, told={})
    return replace(standing, billing=billing, account=account)


def _standing_in(documents: Mapping[str, bytes]) -> Standing:
    standing = _STANDINGS.validate_json(documents[_STANDING])
    billing, account = standing.billing, standing.account
    if _PENDING in documents:
        pending = _PENDINGS.validate_json(documents[_PENDING])
        billing = replace(billing, pending=replace(pending, body=documents[_BODY]))
    if _TOLD in documents:
        account = replace(account, told=_TOTALS.validate_json(documents[_TOLD]))
    return replace(standing, billing=billing, account=account)


def totals_in(documents: Mapping[str, bytes]) -> dict[str, int]:
    """Bytes by key over all sources, out of the documents; ``UsageSourceError`` when one cannot be read."""
    try:
        return summed(_books_in(documents))
    except ValidationError as error:
        raise UsageSourceError(f"the ledger cannot be read: {_reason(error)}") from None


def _new_ledger_id() -> str:
    return secrets.token_hex(16)


def _books_in(documents: Mapping[str, bytes]) -> dict[str, SourceBook]:
    names = [name for name in documents if name.startswith(_SOURCE)]
    return {name.removeprefix(_SOURCE): _BOOKS.validate_json(documents[name]) for name in names}


def _has_moved(before: SourceBook, book: SourceBook) -> bool:
    says_more = book.uptime_s > 0 and before.uptime_s == 0
    is_other_run = book.taken.boot_id != before.taken.boot_id or book.uptime_s < before.uptime_s
    return says_more or is_other_run or book.raw != before.raw or book.totals != before.totals


def _reason(error: KeyError | ValidationError) -> str:
    if isinstance(error, KeyError):
        return f"document {error} is missing"
    return error.errors(include_url=False, include_input=False, include_context=False)[0]["msg"]
