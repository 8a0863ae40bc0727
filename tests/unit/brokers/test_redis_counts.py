"""Counts of many queues from reading to reading: what changed is found, and nothing else is looked at."""

import pytest
from redis.asyncio.connection import Connection
from redis.exceptions import ResponseError

from celeriac.brokers.redis.counts import Counts
from celeriac.brokers.redis.queries import Count
from celeriac.brokers.redis.shapes import is_counts
from celeriac.brokers.redis.wire import packed

pytestmark = pytest.mark.unit

TWO_SCRIPTS = [Count(("a", "a3", "b", "b3"), 2), Count(("c", "c3"), 2)]


def test_the_first_counts_are_all_new_and_the_same_text_changes_nothing() -> None:
    counts = Counts(TWO_SCRIPTS)
    assert counts.note([b"0,7", b"3"]) == {0, 1, 2}
    assert counts.values == [0, 7, 3]
    assert counts.note([b"0,7", b"3"]) == set()
    assert counts.note([b"0,8", b"3"]) == {1}


def test_a_count_that_was_corrected_is_compared_with_the_next_one() -> None:
    counts = Counts(TWO_SCRIPTS)
    counts.note([b"0,7", b"3"])
    assert not counts.correct(2, 3)
    assert counts.correct(2, 4)
    assert counts.values == [0, 7, 4]
    assert counts.note([b"0,7", b"3"]) == {2}, "the text is that of before, the count is not"


def test_a_queue_that_cannot_be_counted_spoils_no_other() -> None:
    counts = Counts(TWO_SCRIPTS)
    wrong = ResponseError("WRONGTYPE")
    counts.note([b"0,7", b"3"])
    assert counts.note([[0, wrong], b"3"]) == {1}
    assert counts.values == [0, wrong, 3]
    with pytest.raises(ResponseError):
        counts.note([wrong, b"3"])


@pytest.mark.parametrize("text", [b"", b"1", b"1,2,3", b"1,", b"1,-2", b"1,2 ", b"1,1e3", b"1," + b"9" * 13])
def test_what_is_not_so_many_counts_is_no_answer(text: bytes) -> None:
    assert not is_counts(text, 2)
    assert is_counts(b"1,999999999999", 2)


@pytest.mark.parametrize("command", [("TIME",), ("LLEN", "a b\r\n"), ("HMGET", "k\u00e9y", b"\x00\xff", 17)])
def test_a_command_is_packed_as_redis_py_packs_it(command: tuple[str | bytes | int, ...]) -> None:
    theirs = b"".join(Connection().pack_command(*command))
    assert packed(command) == (command[0], theirs)
