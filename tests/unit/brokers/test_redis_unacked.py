"""What workers hold is attributed to the queue that each message came from."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from celeriac.brokers.redis.reading_plan import Queue
from celeriac.brokers.redis.resting import LOOK_AGAIN_SECONDS, LOOK_SELDOM_SECONDS, LOOK_THROUGH, RestingEtas
from celeriac.brokers.redis.unacked import (
    EXACT_UP_TO,
    SAMPLE,
    SAMPLE_SECONDS,
    Delivery,
    Ledger,
    Route,
    delivery_of,
    eta_of,
)
from celeriac.pool.model import QueueLayout

pytestmark = pytest.mark.unit

NESTED = b"[" * 60_000 + b"]" * 60_000  # deeper than Python's JSON decoder goes

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC).timestamp()


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def entry(queue: str, eta: str | None = None, exchange: str = "") -> bytes:
    message = {"body": "W10=", "headers": {"task": "t", "eta": eta}, "properties": {}}
    return json.dumps([message, exchange, queue]).encode()


def default_exchange(route: Route) -> tuple[str, ...]:
    return (route[1],)


def learn(ledger: Ledger, entries: dict[bytes, bytes | None], size: int | None = None) -> int:
    """Show the ledger a hash of these entries; how many of them it asked for."""
    queries = ledger.note_tags(len(entries) if size is None else size, b"\n".join(entries))
    for query in queries:
        ledger.note_entries(query.tags, [entries[tag] for tag in query.tags])
    return sum(len(query.tags) for query in queries)


def test_an_eta_that_comes_turns_a_scheduled_message_into_a_held_one() -> None:
    ledger = Ledger("unacked", Clock())
    learn(ledger, {b"1": entry("a", "2030-01-01T12:00:00+00:00"), b"2": entry("a"), b"3": entry("b")})
    before = ledger.holdings(NOON - 1, default_exchange)
    after = ledger.holdings(NOON, default_exchange)
    assert (before.held, before.scheduled, before.exact) == ({"a": 1, "b": 1}, {"a": 1}, True)
    assert (after.held, after.scheduled) == ({"a": 2, "b": 1}, {})


def test_a_steady_hash_is_read_once() -> None:
    ledger = Ledger("unacked", Clock())
    entries: dict[bytes, bytes | None] = {str(i).encode(): entry("a") for i in range(1000)}
    assert learn(ledger, entries) == 1000
    assert learn(ledger, entries) == 0
    assert learn(ledger, {**entries, b"new": entry("b")}) == 1
    assert ledger.holdings(NOON, default_exchange).held == {"a": 1000, "b": 1}


def test_acknowledged_messages_are_forgotten() -> None:
    ledger = Ledger("unacked", Clock())
    learn(ledger, {b"1": entry("a"), b"2": entry("a")})
    learn(ledger, {b"2": entry("a")})
    assert ledger.holdings(NOON, default_exchange).held == {"a": 1}
    learn(ledger, {})
    assert ledger.holdings(NOON, default_exchange).held == {}


def test_a_message_acknowledged_between_two_round_trips_leaves_the_reading_exact() -> None:
    ledger = Ledger("unacked", Clock())
    learn(ledger, {b"1": entry("a"), b"gone": None})
    holdings = ledger.holdings(NOON, default_exchange)
    assert (holdings.held, holdings.exact) == ({"a": 1}, True)


@pytest.mark.parametrize("strange", [b"", b"{}", b"no json", b"[1, 2]", b"null", b"\xff", NESTED])
def test_an_entry_that_nobody_understands_makes_the_reading_inexact_never_zero(strange: bytes) -> None:
    ledger = Ledger("unacked", Clock())
    learn(ledger, {b"1": entry("a"), b"2": strange})
    assert not ledger.holdings(NOON, default_exchange).exact


def test_above_the_bound_a_sample_is_scaled_up_and_taken_anew_only_after_a_while() -> None:
    clock = Clock()
    ledger = Ledger("unacked", clock)
    assert ledger.tags_query().sample == SAMPLE
    half: dict[bytes, bytes | None] = {str(i).encode(): entry("a" if i % 2 else "b") for i in range(SAMPLE)}
    learn(ledger, half, size=20 * SAMPLE)
    holdings = ledger.holdings(NOON, default_exchange)
    assert (holdings.held, holdings.exact) == ({"a": 10 * SAMPLE, "b": 10 * SAMPLE}, False)
    assert ledger.tags_query().sample == 0
    learn(ledger, {}, size=40 * SAMPLE)
    assert ledger.holdings(NOON, default_exchange).held == {"a": 20 * SAMPLE, "b": 20 * SAMPLE}
    clock.now += SAMPLE_SECONDS
    assert ledger.tags_query().sample == SAMPLE


def test_a_hash_that_shrinks_under_the_bound_is_exact_again() -> None:
    ledger = Ledger("unacked", Clock())
    learn(ledger, {b"1": entry("a")}, size=EXACT_UP_TO + 1)
    learn(ledger, {b"1": entry("a"), b"2": entry("b")})
    holdings = ledger.holdings(NOON, default_exchange)
    assert (holdings.held, holdings.exact) == ({"a": 1, "b": 1}, True)


@pytest.mark.parametrize(
    ("eta", "seconds"),
    [
        ("2030-01-01T12:00:00+00:00", NOON),
        ("2030-01-01T14:00:00+02:00", NOON),
        ("2030-01-01T12:00:00Z", NOON),
        ("2030-01-01T12:00:00", NOON),
        ("2030-01-01T12:00:00.250000+00:00", NOON + 0.25),
        ("tomorrow", None),
        (None, None),
        (12, None),
    ],
)
def test_an_eta_is_read_as_celery_writes_it(eta: Any, seconds: float | None) -> None:
    assert eta_of({"headers": {"eta": eta}}) == seconds


@pytest.mark.parametrize("message", [None, [], {}, {"headers": None}, {"headers": []}])
def test_a_message_without_celery_headers_has_no_eta(message: Any) -> None:
    assert eta_of(message) is None


def test_nothing_of_a_message_is_kept_but_route_and_eta() -> None:
    assert delivery_of(entry("a", exchange="mail")) == Delivery(("mail", "a"), None)


def test_a_queue_has_a_list_for_each_priority_step_as_in_kombu() -> None:
    queue = Queue(QueueLayout(key_prefix="app:", separator=":", priority_steps=(0, 5)), "mail")
    assert queue.keys == ("app:mail", "app:mail:5")


def test_a_short_queue_is_looked_through_when_its_length_changes_or_after_a_while() -> None:
    clock = Clock()
    resting = RestingEtas(("a",), clock)
    assert resting.query(0) is None
    assert resting.query(2) is not None
    resting.note([2, [json.dumps({"headers": {"eta": "2030-01-01T12:00:00+00:00"}}).encode()], 1])
    assert resting.query(2) is None
    assert resting.query(3) is not None
    clock.now += LOOK_AGAIN_SECONDS
    assert resting.query(2) is not None


def test_a_queue_of_large_messages_is_looked_at_seldom_however_its_length_changes() -> None:
    clock = Clock()
    resting = RestingEtas(("a",), clock)
    resting.note([2, [], 0])
    clock.now += LOOK_AGAIN_SECONDS
    assert (resting.query(2), resting.query(3)) == (None, None)
    clock.now += LOOK_SELDOM_SECONDS
    assert resting.query(3) is not None


def test_a_long_queue_is_not_looked_through_and_all_of_it_waits() -> None:
    resting = RestingEtas(("a",), Clock())
    resting.note([2, [json.dumps({"headers": {"eta": "2030-01-01T12:00:00+00:00"}}).encode()], 1])
    assert resting.query(LOOK_THROUGH + 1) is None
    assert resting.deferred(LOOK_THROUGH + 1, NOON - 1) == 0


def test_a_deferred_message_waits_from_the_moment_of_its_eta() -> None:
    resting = RestingEtas(("a",), Clock())
    resting.note([2, [json.dumps({"headers": {"eta": "2030-01-01T12:00:00+00:00"}}).encode(), b"no json"], 1])
    assert [resting.deferred(2, now) for now in (NOON - 1, NOON)] == [1, 0]


def test_one_message_with_deeply_nested_headers_hides_no_other() -> None:
    resting = RestingEtas(("a",), Clock())
    scheduled = json.dumps({"headers": {"eta": "2030-01-01T12:00:00+00:00"}}).encode()
    resting.note([2, [b'{"headers": ' + NESTED + b"}", scheduled], 1])
    assert resting.deferred(2, NOON - 1) == 1
