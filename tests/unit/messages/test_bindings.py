"""Agent and operator match the keys of bindings alike, as kombu does, and at a cost that no table can drive up."""

# mypy: disable-error-code="no-untyped-call"

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from celeriac_agent import bindings as of_the_agent
from hypothesis import given
from hypothesis import strategies as st
from kombu.transport.redis import Channel
from kombu.transport.virtual.exchange import TopicExchange

from celeriac.brokers.redis import bindings as of_the_operator
from celeriac.brokers.redis.bindings import bindings_of, queues_bound

pytestmark = pytest.mark.unit

Matcher = Callable[[str, str, str], bool]
"""Whether a binding of this key and pattern takes this routing key."""

MATCHERS: list[Matcher] = [
    lambda key, pattern, routing_key: of_the_operator.takes(of_the_operator.Binding(key, pattern, "q"), routing_key),
    lambda key, pattern, routing_key: of_the_agent.takes(of_the_agent.Binding(key, pattern, "q"), routing_key),
]
both = pytest.mark.parametrize("takes", MATCHERS, ids=["operator", "agent"])


class EarlierTopicExchange(TopicExchange):
    """kombu before its `*` stood for one word."""

    wildcards = TopicExchange.wildcards | {"*": r".*?[^\.]"}


EXCHANGES = [TopicExchange(None), EarlierTopicExchange(None)]

WORDS = st.lists(st.sampled_from(["*", "#", "a", "b", "ab", "", "ä", "-", "a b", "(a|aa)+$"]), min_size=1, max_size=6)
KEYS = st.lists(st.sampled_from(["a", "b", "ab", "", "ä", "-", "a b", "(a|aa)+$", "aaa"]), min_size=1, max_size=7)


@both
@pytest.mark.parametrize("exchange", EXCHANGES, ids=["now", "earlier"])
@given(wanted=WORDS, words=KEYS)
def test_a_topic_takes_what_it_takes_in_kombu(
    takes: Matcher, exchange: TopicExchange, wanted: list[str], words: list[str]
) -> None:
    key, routing_key = ".".join(wanted), ".".join(words)
    row = exchange.prepare_bind("q", "mail", key, None)
    assert takes(row[0], row[1], routing_key) == bool(exchange.lookup([row], "mail", routing_key, None))


@contextmanager
def counted_lines() -> Iterator[list[int]]:
    """Counts the lines of Python that run: what a regular expression does is not seen, and not wanted."""
    lines = [0]

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        lines[0] += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lines
    finally:
        sys.settrace(before)


HOSTILE = [
    ("(a|aa)+$", "(a|aa)+$", "a" * 200),
    ("#", "^(a|aa)+$", "a" * 200),
    (".".join(["#"] * 120 + ["b"]), None, ".".join(["a"] * 120)),
    (".".join(["#", "a"] * 60 + ["b"]), None, ".".join(["a"] * 120)),
    (".".join(["*", "#"] * 60 + ["b"]), None, ".".join(["a"] * 120)),
    (".".join(["#"] * 100_000), None, ".".join(["a"] * 100_000)),
    ("#.b", None, "a" * 10_000_000),
]


@both
@pytest.mark.parametrize(("key", "pattern", "routing_key"), HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("exchange", EXCHANGES, ids=["now", "earlier"])
def test_no_table_makes_a_match_costly(
    takes: Matcher, exchange: TopicExchange, key: str, pattern: str | None, routing_key: str
) -> None:
    written = pattern if pattern is not None else exchange.key_to_pattern(key)
    with counted_lines() as lines:
        assert not takes(key, written, routing_key)
    assert lines[0] < 100_000


def test_no_expression_from_redis_is_ever_compiled() -> None:
    assert not hasattr(of_the_agent, "re")
    assert not hasattr(of_the_operator, "re")


@pytest.mark.parametrize("routing_key", ["mail.eu.send", "mail.send", "mail", "sms.eu.send", "mail.eu.send.now", ""])
def test_the_table_of_an_exchange_is_read_as_kombu_wrote_it(routing_key: str) -> None:
    topic = TopicExchange(None)
    keys = {"eu": "mail.eu.*", "all_mail": "mail.#", "everything": "#", "exact": "mail.send", "dot": "mail.*.send"}
    table = [topic.prepare_bind(queue, "mail", key, None) for queue, key in keys.items()]
    bindings = bindings_of((Channel.sep.join(row).encode() for row in table), Channel.sep)
    assert queues_bound(bindings, routing_key) == topic.lookup(table, "mail", routing_key, None)


def test_direct_bindings_match_by_equality_and_foreign_rows_are_left_out() -> None:
    members = [b"key\x06\x16\x06\x16a", b"key\x06\x16\x06\x16b", b"other\x06\x16\x06\x16c", b"strange", b"\xff"]
    assert queues_bound(bindings_of(members, "\x06\x16"), "key") == {"a", "b"}


@both
@pytest.mark.parametrize("pattern", ["(", "(" * 60_000 + ")" * 60_000, "a{99999999999999}", "^other$", "^key"])
def test_a_pattern_that_kombu_never_wrote_matches_nothing(takes: Matcher, pattern: str) -> None:
    assert not takes("key", pattern, "key")


@both
def test_a_wildcard_within_a_word_is_an_ordinary_character(takes: Matcher) -> None:
    row = TopicExchange(None).prepare_bind("q", "mail", "a*b", None)
    assert takes(row[0], row[1], "a*b")
    assert not takes(row[0], row[1], "aab")
