"""What is to be marked, and what the broker has to be told so that its marks are those of the Pods."""

import pytest

from celeriac.autoscaling.drain_marker import NO_MARKING, Marking, corrected
from celeriac.brokers.agents import STOP
from tests.unit.builders.workers import pod

pytestmark = pytest.mark.unit


def test_the_broker_is_told_what_the_pods_say() -> None:
    kept, lost, unmarked = pod("a", drain_token="t1"), pod("b", drain_token="t2"), pod("c")
    marking = corrected(NO_MARKING, [kept, lost, unmarked], {"a": "t1", "b": "older", "c": "left over", "gone": "t"})
    assert marking == Marking(remark=(lost,), superfluous=("c", "gone"))
    assert marking.to_mark == [lost], "with a token of its own: its last report may answer to the old one"


def test_a_worker_that_was_told_to_stop_is_told_so_again_where_the_broker_has_lost_it() -> None:
    deaf, told, marked = pod("a", drain_token="t1"), pod("b", drain_token=f"{STOP}1"), pod("c", drain_token="t3")
    marking = corrected(Marking(stop=(deaf,)), [deaf, told, marked], {"a": "t1"})
    assert [(each.uid, marking.token_for(each).startswith(STOP)) for each in marking.to_mark] == [
        ("b", True),
        ("c", False),
        ("a", True),
    ]


def test_nothing_is_to_be_done_where_both_say_the_same() -> None:
    assert not corrected(NO_MARKING, [pod("a", drain_token="t1"), pod("b")], {"a": "t1"})


def test_a_pod_that_shall_work_again_is_not_marked_anew_because_the_broker_lost_its_mark() -> None:
    marked, victim = pod("a", drain_token="t1"), pod("b")
    marking = corrected(Marking(drain=(victim,), undrain=(marked,)), [marked, victim], {})
    assert marking.remark == (marked,)
    assert marking.to_mark == [victim]
