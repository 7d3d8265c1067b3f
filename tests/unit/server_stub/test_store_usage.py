"""What the store keeps of accounting, on real files: ledgers, bookings, accounts."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.wire.usage import LedgerReport, UsageAnswer, UsageLedger
from server_stub.actions.registry import add_node
from server_stub.actions.usage import take_ledger
from server_stub.actions.users import add_user, set_profile
from server_stub.rules.accounts import Account
from server_stub.rules.billing_calendar import Span, start_of
from server_stub.rules.usage_ledger import MAX_LEDGERS, KnownLedger
from server_stub.rules.usage_report import MAX_COUNTER
from server_stub.store.base import Tables
from server_stub.store.records import Booking, BookingQuery
from server_stub.store.sqlite import SqliteStore

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def fill(tables: Tables) -> None:
    for node_id in ("n1", "n2"):
        add_node(tables, "op", node_id, "", node_id, NOW, 10)
        set_profile(tables, "op", node_id, NOW)
    add_user(tables, "op", Account("alice"), "", NOW, 10)
    add_user(tables, "op", Account("bob", reset_day=15), "", NOW, 10)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "control.db")


@pytest.fixture
def store(path: str) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    store.write(fill)
    yield store
    store.close()


def remember(store: SqliteStore, ledger: str, seq: int, totals: dict[str, int], ids: int, node: str = "n1") -> None:
    store.write(lambda tables: tables.ledgers.remember(node, ledger, seq, totals, ids))


def known(store: SqliteStore, ledger: str, *users: str, node: str = "n1") -> KnownLedger | None:
    return store.read(lambda tables: tables.ledgers.known(node, ledger, users))


def found(store: SqliteStore, span: Span, user: str = "", node: str = "", limit: int = 1_000) -> list[Booking]:
    return store.read(lambda tables: tables.bookings.find(BookingQuery(span, LONG_AGO, None, user, node), limit))


def report(store: SqliteStore, totals: dict[str, int], seq: int, now: datetime, node: str = "n1") -> UsageAnswer:
    sent = LedgerReport(ledger=UsageLedger(id="0" * 32, seq=seq, totals=totals))
    return store.write(lambda tables: take_ledger(tables, node, sent, now))


def test_a_ledger_is_there_after_opening_again(path: str) -> None:
    store = SqliteStore(path)
    store.write(fill)
    remember(store, "l", 2**53, {"alice": 2**53, "stranger": 0}, 2)
    remember(store, "l", 2**53, {"alice": 2**53}, 2)
    store.close()
    store = SqliteStore(path)
    assert known(store, "l", "alice", "nobody") == KnownLedger(2**53, {"alice": 2**53}, 2)
    assert known(store, "l", "stranger") == KnownLedger(2**53, {"stranger": 0}, 2)
    store.close()


def test_ledgers_belong_to_their_node(store: SqliteStore) -> None:
    remember(store, "l", 5, {"alice": 5}, 1)
    remember(store, "l", 6, {"alice": 6}, 1, node="n2")
    assert known(store, "l", "alice") == KnownLedger(5, {"alice": 5}, 1)
    assert known(store, "other", "alice") is None


def test_the_ledger_that_has_not_counted_for_longest_is_forgotten(store: SqliteStore) -> None:
    remember(store, "elsewhere", 1, {}, 0, node="n2")
    for number in range(MAX_LEDGERS):
        remember(store, f"l{number}", 1, {"alice": number}, 1)
    remember(store, "l0", 2, {"alice": 9}, 1)
    remember(store, "new", 1, {"alice": 1}, 1)
    assert known(store, "l1", "alice") is None
    assert known(store, "l0", "alice") == KnownLedger(2, {"alice": 9}, 1)
    assert all(known(store, f"l{number}") for number in range(2, MAX_LEDGERS))
    assert known(store, "elsewhere", node="n2") is not None
    totals = store._connection.execute("SELECT count(*) FROM ledger_total").fetchone()
    assert totals == (MAX_LEDGERS,)  # those of the forgotten one went with it


def test_an_account_is_stored_as_it_is(store: SqliteStore) -> None:
    account = Account(
        *("bob", 5, 10, False, NOW, frozenset({"n1"}), frozenset({"quota:10:80"})),
        reset_day=28,
        period_start=datetime(2026, 2, 28, tzinfo=UTC),
    )
    store.write(lambda tables: tables.usage.set_account(account, NOW))
    store.write(lambda tables: tables.usage.set_account(account))
    alice, bob = store.read(lambda tables: tables.usage.users())
    assert (bob.account, bob.last_seen_at) == (account, NOW)
    assert alice.account == Account("alice")


def test_users_whose_time_ends(store: SqliteStore) -> None:
    ends = {"alice": NOW, "bob": NOW - timedelta(days=1)}
    for user, end in ends.items():
        store.write(lambda tables, user=user, end=end: tables.usage.set_account(Account(user, expires_at=end)))  # type: ignore[misc]

    def expiring() -> list[str]:
        users = store.read(lambda tables: tables.usage.users_expiring(NOW))
        return [user.account.user_id for user in users]

    assert expiring() == ["bob"]
    store.write(lambda tables: tables.usage.set_account(Account("bob", enabled=False, expires_at=ends["bob"])))
    assert expiring() == []


def test_bookings_add_up_and_can_be_narrowed(store: SqliteStore) -> None:
    hours = [start_of(Span.HOUR, NOW) + timedelta(hours=n) for n in range(3)]
    for hour in hours:
        for user in ("alice", "bob"):
            for node in ("n1", "n2"):
                one = Booking(Span.HOUR, hour, user, node, 2)
                store.write(lambda tables, one=one: tables.bookings.add([one, replace(one, bytes=3)], NOW))  # type: ignore[misc]
    assert [(one.start, one.bytes) for one in found(store, Span.HOUR, "bob", "n2")] == [(hour, 5) for hour in hours]
    assert len(found(store, Span.HOUR)) == 12
    assert {one.user_id for one in found(store, Span.HOUR, "alice")} == {"alice"}
    assert {one.node_id for one in found(store, Span.HOUR, node="n1")} == {"n1"}
    assert len(found(store, Span.HOUR, limit=5)) == 5
    assert found(store, Span.DAY) == []
    between = BookingQuery(Span.HOUR, hours[1], hours[2], "alice")
    assert {one.start for one in store.read(lambda tables: tables.bookings.find(between, 9))} == {hours[1]}


def test_bookings_stop_instead_of_overflowing(store: SqliteStore) -> None:
    one = Booking(Span.DAY, NOW, "alice", "n1", MAX_COUNTER - 1)
    for _ in range(3):
        store.write(lambda tables: tables.bookings.add([one], NOW))
    assert [each.bytes for each in found(store, Span.DAY)] == [MAX_COUNTER]


def test_what_is_too_old_goes_with_the_next_report(store: SqliteStore) -> None:
    report(store, {"alice": 1}, 1, NOW)
    report(store, {"alice": 2}, 2, NOW + timedelta(days=35))
    assert [one.bytes for one in found(store, Span.HOUR)] == [1, 1]
    report(store, {"alice": 2}, 3, NOW + timedelta(days=35, hours=1))
    assert [one.bytes for one in found(store, Span.HOUR)] == [1]
    assert [one.bytes for one in found(store, Span.DAY)] == [1, 1]
    report(store, {"alice": 4}, 4, NOW + timedelta(days=402))
    assert [one.bytes for one in found(store, Span.DAY)] == [1, 2]
    assert [one.bytes for one in found(store, Span.MONTH)] == [1, 1, 2]
    report(store, {"alice": 5}, 5, NOW + timedelta(days=3_700))
    assert [one.bytes for one in found(store, Span.MONTH)] == [1, 2, 1]


def test_a_transaction_that_fails_leaves_ledger_and_account_together(store: SqliteStore) -> None:
    def halfway(tables: Tables) -> None:
        sent = LedgerReport(ledger=UsageLedger(id="0" * 32, seq=1, totals={"alice": 100}))
        take_ledger(tables, "n1", sent, NOW)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.write(halfway)
    assert report(store, {"alice": 100}, 1, NOW).bytes_delta == 100


def test_a_server_restored_from_a_backup_bills_what_the_backup_lacks(path: str, tmp_path: Path) -> None:
    store = SqliteStore(path)
    store.write(fill)
    report(store, {"alice": 100}, 1, NOW)
    store.close()
    backup = Path(path).read_bytes()
    store = SqliteStore(path)
    report(store, {"alice": 170}, 2, NOW)
    store.close()
    restored = tmp_path / "restored.db"
    restored.write_bytes(backup)
    store = SqliteStore(str(restored))
    assert report(store, {"alice": 200}, 3, NOW).bytes_delta == 100
    (alice, _) = store.read(lambda tables: tables.usage.users())
    assert alice.account.used_bytes == 200
    store.close()


steps = st.lists(
    st.tuples(
        st.sampled_from(["n1", "n2"]),
        st.dictionaries(st.sampled_from(["alice", "bob", "stranger"]), st.integers(0, 100)),
        st.integers(0, 40 * 3_600),
    ),
    max_size=15,
)


@given(steps)
def test_hours_days_and_months_each_add_up_to_what_was_billed(steps: list[tuple[str, dict[str, int], int]]) -> None:
    store = SqliteStore(":memory:")
    store.write(fill)
    totals: dict[str, dict[str, int]] = {"n1": {}, "n2": {}}
    now = NOW
    for seq, (node, grown, seconds) in enumerate(steps):
        now += timedelta(seconds=seconds)
        totals[node] |= {user: totals[node].get(user, 0) + count for user, count in grown.items()}
        report(store, totals[node], seq, now, node)
    for user in ("alice", "bob"):
        truth = {node: totals[node][user] for node in totals if totals[node].get(user)}
        for span in Span:
            booked: dict[str, int] = {}
            for one in found(store, span, user):
                booked[one.node_id] = booked.get(one.node_id, 0) + one.bytes
                assert one.start == start_of(span, one.start, 15 if user == "bob" else 0)
            assert booked == truth
    (alice, bob) = store.read(lambda tables: tables.usage.users())
    assert alice.account.used_bytes == sum(alice.per_node.values())
    present = start_of(Span.MONTH, now, 15)
    this_month = [one.bytes for one in found(store, Span.MONTH, "bob") if one.start == present]
    assert bob.account.at(now).used_bytes == sum(this_month)
    store.close()
