"""What is remembered stays small, and says the same as a full record would."""

import random

import pytest

from celeriac.scaling.decision import History
from celeriac.scaling.history import WINDOW_STEPS, fresh_history, record_change, remember
from celeriac.scaling.policy import Behavior
from tests.unit.scaling.virtual_time import pods, rules

pytestmark = pytest.mark.unit


def behavior(up: int, down: int) -> Behavior:
    return Behavior(scale_up=rules(window=up), scale_down=rules(window=down))


def test_an_hour_of_windows_at_two_readings_a_second_stays_small_when_demand_only_falls() -> None:
    history = History()
    for tick in range(7300):
        history = remember(history, behavior(3600, 3600), 10_000 - tick, tick / 2)
        assert len(history.highest) <= WINDOW_STEPS + 1
        assert len(history.lowest) == 1
    assert history.highest[0].replicas == pytest.approx(10_000 - 100, abs=7200 / WINDOW_STEPS), "an hour ago"


def test_a_steady_pool_remembers_one_entry() -> None:
    history = fresh_history(4, 0.0)
    for tick in range(1000):
        history = remember(history, behavior(300, 300), 4, tick / 2)
    assert (len(history.highest), len(history.lowest)) == (1, 1)


def test_the_windows_agree_with_a_full_record() -> None:
    """Against brute force; a window may err by one step of its resolution, and only towards holding."""
    chance = random.Random(42)
    up, down = 30, 60
    history, record = History(), []
    for tick in range(600):
        now, recommended = tick * 0.5, chance.randint(0, 40)
        history = remember(history, behavior(up, down), recommended, now)
        record.append((now, recommended))
        inside = max(n for at, n in record if at > now - down or at == now)
        generous = max(n for at, n in record if at > now - down - down / WINDOW_STEPS or at == now)
        assert inside <= history.highest[0].replicas <= generous
        inside = min(n for at, n in record if at > now - up or at == now)
        generous = min(n for at, n in record if at > now - up - up / WINDOW_STEPS or at == now)
        assert generous <= history.lowest[0].replicas <= inside


def test_without_a_window_only_the_latest_counts() -> None:
    history = remember(fresh_history(9, 10.0), behavior(0, 0), 3, 10.0)
    assert history.highest == history.lowest
    assert [r.replicas for r in history.highest] == [3]


def test_changes_are_forgotten_once_no_policy_asks_for_them() -> None:
    history = record_change(fresh_history(0, 0.0), 0.0, +3)
    slow = Behavior(scale_up=rules(pods(1, 60)), scale_down=rules(pods(1, 600)))
    assert remember(history, slow, 3, 599.0).changes
    assert not remember(history, slow, 3, 600.0).changes
    assert not remember(history, Behavior(), 3, 16.0).changes


def test_changes_within_one_second_are_one_and_half_an_hour_is_the_most() -> None:
    history = fresh_history(0, 0.0)
    for tick in range(3700):
        history = record_change(history, tick / 2, +1)
    assert len(history.changes) <= 1801
    assert sum(change.change for change in history.changes) == pytest.approx(3600, abs=2), "two a second for 1800 s"
