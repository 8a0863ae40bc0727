"""The counters of a pool's tasks only grow, are bounded, and lose nothing that was counted."""

import pytest
from celeriac_agent import tally as agent
from hypothesis import given
from hypothesis import strategies as st

from celeriac.brokers import task_counts
from celeriac.brokers.task_counts import NOTHING, STATES, WIDTH, Row, ended
from celeriac.tasks.tally import OTHER, Tally

pytestmark = pytest.mark.unit


def row(succeeded: int = 0, failed: int = 0) -> Row:
    return (succeeded, failed, *NOTHING[2:])


def test_the_agent_and_the_operator_count_the_same_in_the_same_buckets() -> None:
    assert (agent.STATES, agent.BOUNDS) == (task_counts.STATES, task_counts.BOUNDS)


def test_what_was_counted_before_the_operator_started_is_there_and_what_comes_is_added() -> None:
    tally = Tally(10)
    assert tally.take({"mail": row(5, 1)}) == {"mail": row(5, 1)}
    assert tally.take({"mail": row(7, 1)}) == {"mail": row(7, 1)}


def test_counts_that_are_lost_in_the_broker_begin_anew_and_the_counter_goes_on() -> None:
    tally = Tally(10)
    tally.take({"mail": row(5), "ml": row(2)})
    assert tally.take({}) == {"mail": row(5), "ml": row(2)}
    assert tally.take({"mail": row(5)}) == {"mail": row(10), "ml": row(2)}
    assert tally.take({"mail": row(3)}) == {"mail": row(13), "ml": row(2)}


def test_the_busiest_names_have_rows_of_their_own_and_the_others_one_together() -> None:
    shown = Tally(2).take({f"task-{number}": row(number) for number in range(1, 101)})
    assert {name: ended(each) for name, each in shown.items()} == {"task-100": 100, "task-99": 99, OTHER: 98 * 99 // 2}


def test_a_name_that_becomes_far_busier_takes_a_place_and_what_it_had_stays_where_it_was_counted() -> None:
    tally = Tally(1)
    tally.take({"old": row(10), "new": row(1)})
    assert tally.take({"old": row(10), "new": row(15)}) == {"old": row(10), OTHER: row(15)}
    assert tally.take({"old": row(11), "new": row(100)}) == {"new": row(85), OTHER: row(16)}
    assert tally.take({"old": row(500), "new": row(100)}) == {"old": row(499), OTHER: row(16)}


def test_names_are_shown_as_a_strangers_and_the_empty_one_is_among_the_others() -> None:
    shown = Tally(5).take({"a\nb": row(1), "x" * 500: row(1), "": row(3), OTHER: row(1)})
    assert set(shown) == {"a\\nb", "x" * 199 + "…", OTHER}
    assert shown[OTHER] == row(4)


NAMES = st.sampled_from("abcdefgh")
ROWS = st.dictionaries(NAMES, st.tuples(*[st.integers(0, 5)] * WIDTH), max_size=8)


@given(readings=st.lists(ROWS, max_size=12), most=st.integers(1, 8))
def test_no_counter_ever_falls_and_no_more_names_are_shown_than_may_be(
    readings: list[dict[str, Row]], most: int
) -> None:
    tally = Tally(most)
    before: dict[str, Row] = {}
    for rows in readings:
        shown = tally.take(rows)
        assert len(shown) <= most + 1
        for name, now in shown.items():
            assert all(new >= old for new, old in zip(now, before.get(name, NOTHING), strict=True))
        before |= shown


@given(steps=st.lists(ROWS, max_size=12), most=st.integers(1, 8))
def test_all_that_is_counted_is_shown_while_no_place_is_lost(steps: list[dict[str, Row]], most: int) -> None:
    """Of a hash that only grows; as many places as names."""
    tally, grown = Tally(8), dict.fromkeys("abcdefgh", NOTHING)
    for more in steps:
        grown = {name: task_counts.plus(each, more.get(name, NOTHING)) for name, each in grown.items()}
        shown = tally.take(grown)
    if steps:
        assert sum(ended(each) for each in shown.values()) == sum(map(ended, grown.values()))
    assert len(STATES) < WIDTH
