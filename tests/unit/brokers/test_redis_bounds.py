"""What is kept of a hash of unacknowledged messages, and of the bindings beside it, is bounded whoever writes there."""

import json
import time

import pytest

from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.redis.bindings import MOST_BINDINGS, MOST_TOPICS, WORK, Table
from celeriac.brokers.redis.message_queries import Entries
from celeriac.brokers.redis.queries import Tags
from celeriac.brokers.redis.reading_plan import Share
from celeriac.brokers.redis.shares import MOST_EXCHANGES, ShareReader
from celeriac.brokers.redis.unacked import LONGEST_NAME, MOST_ROUTES, Holdings, Ledger, delivery_of

pytestmark = pytest.mark.unit

SEPARATOR = "\x06\x16"
MANY_SECONDS = 1.0
"""CPU time of what a reading does at most; it is a tenth of that on an idle machine."""


def entry(routing_key: object, exchange: object = "") -> bytes:
    message = {"body": "W10=", "headers": {"task": "t", "eta": None}, "properties": {}}
    return json.dumps([message, exchange, routing_key]).encode()


def binding(routing_key: str, pattern: str, queue: str) -> bytes:
    return SEPARATOR.join((routing_key, pattern, queue)).encode()


def topic(number: int) -> bytes:
    """A binding that every key of ten words could be meant by."""
    words = ["#", f"w{number}", *["#", "a"] * 60]
    pattern = r"\.".join(".*?" if word == "#" else word for word in words)
    return binding(".".join(words), f"^{pattern}$", f"q{number}")


def share_with(entries: list[bytes]) -> ShareReader:
    """A reader that has read these entries, as far as it asked for them."""
    share = ShareReader(Share("", SEPARATOR), "Redis at a", lambda: 0.0)
    tags = [str(number).encode() for number in range(len(entries))]
    for query in share.note_tags([len(tags), b"\n".join(tags)]):
        share.note_entries(query, [entries[int(tag)] for tag in query.tags])
    return share


def held(share: ShareReader) -> Holdings:
    found = share.holdings(0.0)
    assert not isinstance(found, BrokerDoubt)
    return found


@pytest.mark.parametrize("route", [("k" * 256, ""), ("k", "e" * 256), (5, ""), ("k", ["e"]), ({"k": 1}, "e")])
def test_a_route_that_is_no_name_of_amqp_is_not_understood(route: tuple[object, object]) -> None:
    assert delivery_of(entry(*route)) is None
    assert delivery_of(entry("k" * LONGEST_NAME, "e" * LONGEST_NAME)) is not None


def test_of_many_routes_some_are_kept_and_the_reading_is_not_exact() -> None:
    ledger = Ledger("unacked", lambda: 0.0)
    entries = [entry(f"key-{number}") for number in range(MOST_ROUTES + 1)]
    tags = [str(number).encode() for number in range(len(entries))]
    for query in ledger.note_tags(len(tags), b"\n".join(tags)):
        ledger.note_entries(query.tags, [entries[int(tag)] for tag in query.tags])
    holdings = ledger.holdings(0.0, lambda route: (route[1],))
    assert (len(holdings.held), holdings.exact) == (MOST_ROUTES, False)


def test_entries_that_did_not_come_are_asked_for_by_the_next_reading() -> None:
    ledger = Ledger("unacked", lambda: 0.0)
    (query,) = ledger.note_tags(3, b"a\nb\nc")
    ledger.note_entries(query.tags, [entry("mail")])
    assert not ledger.holdings(0.0, lambda route: (route[1],)).exact
    (query,) = ledger.note_tags(3, b"a\nb\nc")
    assert query.tags == (b"b", b"c")
    ledger.note_entries(query.tags, [entry("mail"), entry("mail")])
    holdings = ledger.holdings(0.0, lambda route: (route[1],))
    assert (holdings.held, holdings.exact) == ({"mail": 3}, True)


def test_queues_of_many_topics_take_several_readings_that_each_cost_little() -> None:
    share = share_with([entry("a." * 100 + str(number), "news") for number in range(50)])
    share.note_bindings("news", [0, [topic(number) for number in range(MOST_TOPICS)]])
    took = []
    for _ in range(5):
        began = time.process_time()
        assert not held(share).exact
        took.append(time.process_time() - began)
    assert max(took) < MANY_SECONDS


def test_a_table_answers_at_once_what_it_has_answered_before() -> None:
    table = Table({topic(number) for number in range(10)} | {binding("a", "", "mail")}, SEPARATOR)
    queues, left = table.queues("a", WORK)
    assert queues == frozenset({"mail"})
    assert left < WORK
    assert table.queues("a", 0) == (queues, 0)
    assert table.queues("b", 0) == (None, 0)


def test_a_table_with_too_many_rows_is_not_whole() -> None:
    assert Table({binding(str(number), "", "q") for number in range(MOST_BINDINGS)}, SEPARATOR).whole
    assert not Table({binding(str(number), "", "q") for number in range(MOST_BINDINGS + 1)}, SEPARATOR).whole
    assert not Table({topic(number) for number in range(MOST_TOPICS + 1)}, SEPARATOR).whole


def test_the_bindings_of_many_exchanges_are_read_some_at_a_time_and_not_all_are() -> None:
    share = share_with([entry("k", f"exchange-{number}") for number in range(MOST_EXCHANGES + 1)])
    read = 0
    while stale := share.stale_exchanges():
        assert len(stale) < MOST_EXCHANGES
        for exchange in stale:
            share.note_bindings(exchange, [0, [binding("k", "", exchange)]])
            read += 1
    assert read == MOST_EXCHANGES
    assert (len(held(share).held), held(share).exact) == (MOST_EXCHANGES, False)


@pytest.mark.parametrize("reply", [[1, b"a\nb\nc"], [1, b"x" * 2000], [-1, b""], [1], [1, "a"], 5, None, [b"a", b"a"]])
def test_tags_that_were_not_asked_for_are_no_reply(reply: object) -> None:
    assert not Tags("unacked", 2, 0).fits(reply)
    assert Tags("unacked", 2, 0).fits([2, b"a\nb"])


@pytest.mark.parametrize("reply", [[b"a", b"b", b"c"], [1, 2], [[], []], b"ab", None])
def test_entries_that_were_not_asked_for_are_no_reply(reply: object) -> None:
    query = Entries("unacked", (b"1", b"2"))
    assert not query.fits(reply)
    assert query.fits([b"a"])
    assert query.fits([None, b"b"])
