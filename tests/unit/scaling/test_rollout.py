"""Rollouts in virtual time: each ends, none takes a worker with a task for it, and none locks the count."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac.api.reasons import Reason
from celeriac.scaling.policy import Mode, Policy, Strategy
from tests.unit.scaling.simulated_rollout import RolloutSimulation

pytestmark = pytest.mark.unit

POLICY = Policy(slots=1)


def full(replicas: int = 2, **fields: object) -> RolloutSimulation:
    """Nodes that have room for the replicas, and for no pod more."""
    return RolloutSimulation(POLICY, replicas, room=replicas, **fields)  # type: ignore[arg-type]


def test_with_room_to_spare_nobody_drains_and_the_controller_goes_its_way() -> None:
    story = RolloutSimulation(POLICY, 4)
    assert story.until_done(30) < 25
    assert story.fewest_at_work >= 4
    assert not any(plan.drain or plan.retire for plan in story.plans)


def test_without_room_an_idle_worker_makes_it_and_a_busy_one_ends_its_task_first() -> None:
    story = full().busy(15.0)
    assert story.until_done(60) < 25
    assert story.stopped == []
    assert story.fewest_at_work == 1


def test_a_full_quota_is_no_other_story() -> None:
    story = RolloutSimulation(POLICY, 2, quota=2).busy(15.0)
    assert story.until_done(60) < 30
    assert story.stopped == []


def test_a_quota_that_has_room_is_tried_at_once_not_when_kubernetes_comes_back_to_it() -> None:
    story = RolloutSimulation(POLICY, 6, quota=6).busy(15.0)
    assert story.until_done(60) < 30
    assert story.stopped == []


def test_a_pool_of_one_busy_worker_waits_for_its_task_however_long() -> None:
    story = full(1).busy(600.0)
    story.run(595)
    assert story.count("old") == 1
    story.until_done(30)
    assert story.stopped == []


@pytest.mark.parametrize("mode", [Mode.PAUSED, Mode.DRY_RUN])
def test_a_pool_that_is_not_scaled_gets_its_release_nevertheless(mode: Mode) -> None:
    story = full()
    story.policy = replace(POLICY, mode=mode)
    story.until_done(60)


def test_a_large_pool_goes_a_quarter_at_a_time() -> None:
    story = full(40).busy(*[20.0] * 25)
    story.until_done(120)
    assert story.stopped == []
    assert story.fewest_at_work >= 30


def test_a_release_that_starts_but_never_gets_ready_takes_a_quarter_and_no_more() -> None:
    story = full(8, start_seconds=None).run(600)
    assert story.count("old") == 6
    assert story.fewest_at_work == 6


def test_new_pods_that_need_the_room_of_several_old_ones_get_it_one_by_one() -> None:
    """Here the nodes bear two pods fewer than there were: so much more does each new one need."""
    story = RolloutSimulation(POLICY, 4, room=4)
    story.room = 2
    story.run(300)
    assert story.count("old") == 0
    assert sum(pod.ready for pod in story.pods()) == 2


def test_pods_that_are_stuck_in_terminating_keep_no_rollout_from_its_end() -> None:
    """Their node is gone in the middle of it, and with it the room of two."""
    story = full(4).busy(20.0, 20.0, 20.0, 20.0)
    story.run(5)
    story.lose(2)
    story.run(400)
    assert story.count("old") == 0
    assert sum(pod.ready for pod in story.pods()) == 2
    assert story.stopped == []


def test_workers_without_the_agent_make_room_when_all_is_quiet() -> None:
    story = full(agent=False).busy(15.0)
    story.until_done(45)
    assert story.stopped == []


def test_workers_without_the_agent_that_are_never_quiet_make_room_after_a_minute() -> None:
    story = full(agent=False, waiting=5).busy(500.0, 500.0)
    story.run(60)
    assert story.count("old") == 2
    story.run(10)
    assert story.stopped == [("old-0", "plan")] or story.stopped == [("old-1", "plan")]


def test_a_pool_that_needs_nobody_sleeps_though_its_release_never_gets_ready() -> None:
    story = RolloutSimulation(POLICY, 3, start_seconds=None, wanted=lambda now: 0 if now > 10 else 3)
    story.busy(20.0).run(30)
    assert (story.replicas, story.pods()) == (0, ())
    assert story.stopped == []


@pytest.mark.parametrize("pin", [0, 1, 3])
@pytest.mark.parametrize("start_seconds", [None, 3.0])
def test_a_pin_is_obeyed_in_a_rollout_once_tasks_have_ended(pin: int, start_seconds: float | None) -> None:
    policy = Policy(slots=1, pinned_replicas=pin)
    story = RolloutSimulation(policy, 5, room=5, start_seconds=start_seconds, wanted=lambda _: pin)
    story.busy(20.0, 20.0, 30.0, 40.0).run(100)
    assert story.replicas == pin
    assert [each for each in story.stopped if each[1] == "plan"] == []


def test_fewer_workers_wait_for_the_end_of_a_rollout_that_goes_on() -> None:
    story = RolloutSimulation(POLICY, 4, wanted=lambda now: 2 if now > 5 else 4).busy(30.0, 30.0, 30.0)
    story.run(20)
    held = next(plan for plan in story.plans if plan.reason == Reason.ROLLOUT_IN_PROGRESS)
    assert held.message == "holding at 4 instead of 2 until the rollout has ended"


@settings(deadline=None, max_examples=60)
@given(
    replicas=st.integers(1, 12),
    spare=st.integers(0, 3),
    surge=st.sampled_from([0, 1, "25%", "100%"]),
    unavailable=st.sampled_from([0, 1, "50%"]),
    tasks=st.lists(st.floats(0, 60), max_size=12),
    pin=st.none() | st.integers(0, 12),
)
def test_every_rollout_ends_and_no_removal_of_ours_meets_a_task(
    replicas: int, spare: int, surge: int | str, unavailable: int | str, tasks: list[float], pin: int | None
) -> None:
    policy = Policy(slots=1, pinned_replicas=pin, strategy=Strategy(False, surge, unavailable))
    room = max(replicas, pin or 0) + spare
    story = RolloutSimulation(policy, replicas, room=room, wanted=None if pin is None else lambda _: pin)
    story.busy(*tasks).run(60)
    story.until_done(60 + 30 * replicas)
    assert story.replicas == (replicas if pin is None else pin)
    assert [each for each in story.stopped if each[1] == "plan"] == []
