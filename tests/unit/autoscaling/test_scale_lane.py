"""Who of many pools is scaled first."""

import pytest

from celeriac.api.keys import PoolKey
from celeriac.autoscaling.scale_lane import ScaleLane
from celeriac.autoscaling.scale_writer import Change

pytestmark = pytest.mark.unit


class Lane:
    """A lane where each pool's change is `before` -> `after`; what is taken is told as text."""

    def __init__(self) -> None:
        self._lane: ScaleLane[str] = ScaleLane()

    def want(self, name: str, before: int, after: int) -> None:
        self._lane.want(PoolKey("shop", name), Change(before, after, ""), f"{name} {before}-{after}")

    def drop(self, name: str) -> None:
        self._lane.drop(PoolKey("shop", name))

    def take_all(self) -> list[str]:
        taken = []
        while (wanted := self._lane.take()) is not None:
            taken.append(wanted)
        return taken


def test_pools_at_zero_go_first_then_the_most_behind_and_who_has_too_much_waits() -> None:
    lane = Lane()
    for wanted in (("idle", 5, 0), ("large", 9, 10), ("shrinks", 10, 9), ("behind", 1, 10), ("zero", 0, 1)):
        lane.want(*wanted)
    assert lane.take_all() == ["zero 0-1", "behind 1-10", "large 9-10", "shrinks 10-9", "idle 5-0"]


def test_among_equals_the_first_to_come_is_the_first_served_however_often_it_changes_its_wish() -> None:
    lane = Lane()
    for name in "abc":
        lane.want(name, 0, 1)
    lane.want("a", 0, 7)
    assert lane.take_all() == ["a 0-7", "b 0-1", "c 0-1"]


def test_the_latest_wish_is_what_is_sent_and_what_is_not_wanted_any_more_is_not() -> None:
    lane = Lane()
    for name in ("grows", "gives up", "falls back", "stays"):
        lane.want(name, 1, 4)
    lane.want("grows", 1, 8)
    lane.drop("gives up")
    lane.want("falls back", 3, 4)
    assert lane.take_all() == ["grows 1-8", "stays 1-4", "falls back 3-4"]
    lane.want("gives up", 1, 2)
    assert lane.take_all() == ["gives up 1-2"]
    assert lane.take_all() == []


def test_a_pool_that_comes_back_with_an_earlier_need_stands_behind_those_that_stayed() -> None:
    lane = Lane()
    lane.want("leaves", 1, 2)
    lane.want("stays", 1, 2)
    lane.want("leaves", 3, 4)
    lane.want("leaves", 1, 2)
    assert lane.take_all() == ["stays 1-2", "leaves 1-2"]
