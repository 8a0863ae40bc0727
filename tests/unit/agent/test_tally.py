"""What the agent counts until Redis has it: bounded by names, added up from any thread, kept while Redis refuses."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from celeriac_agent.counters import Counters
from celeriac_agent.hooks import Hooks
from celeriac_agent.tally import FAILED, LONGEST_NAME, MOST_NAMES, OTHER, RAN, SUCCEEDED, Batch, Tally

pytestmark = pytest.mark.unit


def tally() -> Tally:
    return Tally(Hooks(), Counters())


def taken(one: Tally) -> Batch:
    batch = one.batch()
    assert batch is not None
    return batch


def test_nothing_is_written_where_nothing_has_ended() -> None:
    one = tally()
    assert one.batch() is None
    assert one.tries == 0


def test_a_batch_adds_up_what_came_and_stays_until_redis_has_it() -> None:
    one = tally()
    one.ended("work", SUCCEEDED, 0.3)
    one.ended("work", SUCCEEDED, 4000)
    one.waited("work", 0.0)
    first = taken(one)
    assert first.changes == {
        "work": {SUCCEEDED: 2, f"{RAN}4": 1, f"{RAN}13": 1, RAN: 4_000_300_000, "waited0": 1, "waited": 0}
    }
    one.ended("work", FAILED)
    assert one.batch() is first, "its answer has not come: it is sent again, by its number"
    one.answered(first, 1)
    second = taken(one)
    assert (second.number, second.changes) == (2, {"work": {FAILED: 1}})
    assert one.tries == 3


def test_what_redis_refuses_is_kept_and_told_and_a_full_redis_is_asked_again_at_once() -> None:
    one, hooks = tally(), Hooks()
    one = Tally(hooks, Counters())
    one.ended("work", SUCCEEDED)
    batch = taken(one)
    one.answered(batch, redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."))
    assert one.batch() is batch
    assert "task-key" not in hooks.missing
    one.answered(batch, redis.exceptions.ResponseError("WRONGTYPE Operation against a key"))
    assert one.batch() is None
    assert "task-key" in hooks.missing
    one.answered(batch, 1)
    assert "task-key" not in hooks.missing


def test_names_are_bounded_while_redis_is_away() -> None:
    one = tally()
    for number in range(10_000):
        one.ended(f"task-{number}", SUCCEEDED)
    changes = taken(one).changes
    assert len(changes) == MOST_NAMES + 1
    assert sum(fields[SUCCEEDED] for fields in changes.values()) == 10_000
    assert changes[OTHER] == {SUCCEEDED: 10_000 - MOST_NAMES}


@pytest.mark.parametrize("name", [None, 7, ["x"], {"a": 1}, b"x"])
def test_what_is_no_name_is_among_the_others(name: object) -> None:
    one = tally()
    one.ended(name, FAILED)
    assert taken(one).changes == {OTHER: {FAILED: 1}}


def test_names_are_cut_and_can_be_written() -> None:
    one = tally()
    one.ended("x" * 10_000, FAILED)
    one.ended("half \ud800 pair", FAILED)
    one.ended("ü" * 150, FAILED)
    assert set(taken(one).changes) == {"x" * LONGEST_NAME, "half ? pair", "ü" * (LONGEST_NAME // 2)}


def test_nothing_is_lost_that_many_threads_tell() -> None:
    one = tally()

    def tell() -> None:
        for _ in range(10_000):
            one.ended("work", SUCCEEDED, 0.1)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            pool.submit(tell)
    assert taken(one).changes["work"][SUCCEEDED] == 80_000
