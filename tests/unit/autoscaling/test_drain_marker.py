"""What is to be marked, and what the broker has to be told so that its marks are those of the Pods."""

import pytest

from celeriac.autoscaling.drain_marker import NO_MARKING, Marking, corrected
from tests.unit.builders.workers import pod

pytestmark = pytest.mark.unit


def test_the_broker_is_told_what_the_pods_say() -> None:
    kept, lost, unmarked = pod("a", drain_token="t1"), pod("b", drain_token="t2"), pod("c")
    marking = corrected(NO_MARKING, [kept, lost, unmarked], {"a": "t1", "b": "older", "c": "left over", "gone": "t"})
    assert marking == Marking(remark=(lost,), superfluous=("c", "gone"))
    assert marking.to_mark == [lost], "with a token of its own: its last report may answer to the old one"


def test_nothing_is_to_be_done_where_both_say_the_same() -> None:
    assert not corrected(NO_MARKING, [pod("a", drain_token="t1"), pod("b")], {"a": "t1"})


def test_a_pod_that_shall_work_again_is_not_marked_anew_because_the_broker_lost_its_mark() -> None:
    marked, victim = pod("a", drain_token="t1"), pod("b")
    marking = corrected(Marking(drain=(victim,), undrain=(marked,)), [marked, victim], {})
    assert marking.remark == (marked,)
    assert marking.to_mark == [victim]
