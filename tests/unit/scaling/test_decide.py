"""From demand to a decision: tolerance, windows, rates, bounds, zero, pin, modes, doubt; and the words for each."""

from dataclasses import replace

import pytest

from celeriac.api.reasons import Reason
from celeriac.scaling.decide import decide, fresh_history
from celeriac.scaling.policy import Behavior, Fallback, Mode, Policy, ScalingRules, SelectPolicy, TasksPerSlotTarget
from celeriac.scaling.workload import Demand, Doubt
from tests.unit.scaling.virtual_time import DrivenPool, one_task_per_replica, percent, rules

pytestmark = pytest.mark.unit

NOW = 5000.0


def demand(waiting: int = 0, running: int = 0, replicas: int = 0, **more: object) -> Demand:
    return replace(Demand(waiting=waiting, running=running, current_replicas=replicas), **more)  # type: ignore[arg-type]


def doubt(replicas: int, since: float = NOW) -> Doubt:
    message = "Redis at redis:6379 is loading its data: wait until it has finished"
    return Doubt(current_replicas=replicas, since=since, reason=Reason.BROKER_LOADING, message=message)


class TestScaleUp:
    def test_from_zero_the_first_reading_with_work_starts_pods_in_the_same_call(self) -> None:
        decision = decide(Policy(slots=8), demand(waiting=37), fresh_history(0, NOW), NOW)
        assert (decision.replicas, decision.reason, decision.limit) == (5, Reason.BACKLOG, None)
        assert decision.message == "37 waiting + 0 running over 8 slots per replica: 5 replicas (runtime not yet known)"

    def test_while_the_runtime_is_unknown_pods_come_ten_at_a_time(self) -> None:
        pool = DrivenPool(Policy(slots=1, max_replicas=100), history=fresh_history(0, 1000.0))
        counts = []
        for _ in range(60):
            counts.append(pool.see(demand(waiting=35, replicas=pool.replicas)).replicas)
            pool.wait(0.5)
        assert counts == [10] * 20 + [20] * 20 + [30] * 20

    def test_the_limit_of_unknown_runtime_is_named(self) -> None:
        decision = decide(Policy(slots=1, max_replicas=100), demand(waiting=35), fresh_history(0, NOW), NOW)
        assert decision.limit is not None
        assert decision.limit.reason == Reason.SCALE_UP_LIMIT
        assert decision.limit.message == "limited to 10: at most 10 pods per 10 s"
        assert decision.message.endswith("35 replicas (runtime not yet known); limited to 10: at most 10 pods per 10 s")

    def test_once_the_runtime_is_known_nothing_slows_a_burst(self) -> None:
        burst = demand(waiting=80, runtime_seconds=600.0)
        assert decide(Policy(slots=1, max_replicas=100), burst, fresh_history(0, NOW), NOW).replicas == 80

    def test_max_replicas_bounds_it_and_says_so(self) -> None:
        burst = demand(waiting=80, replicas=20, runtime_seconds=600.0)
        decision = decide(Policy(slots=1, max_replicas=20), burst, fresh_history(20, NOW), NOW)
        assert (decision.replicas, decision.reason) == (20, Reason.BACKLOG)
        assert decision.limit is not None
        assert decision.limit.reason == Reason.TOO_MANY_REPLICAS
        assert decision.message.endswith("80 replicas; limited to 20 by maxReplicas")

    @pytest.mark.parametrize(
        "up",
        [
            pytest.param(rules(window=300), id="a window"),
            pytest.param(rules(percent(1, 60)), id="a slow rate: percent of 0 counts as percent of 1"),
            pytest.param(rules(select=SelectPolicy.DISABLED), id="disabled"),
        ],
    )
    def test_no_behavior_keeps_a_pool_at_zero_while_there_is_work(self, up: ScalingRules) -> None:
        policy = Policy(slots=1, behavior=Behavior(scale_up=up))
        decision = decide(policy, demand(waiting=9), fresh_history(0, NOW), NOW)
        assert decision.replicas == 1
        assert decision.limit is not None, "and the rest is held back"

    def test_percent_of_zero_counts_as_percent_of_one(self) -> None:
        pool = DrivenPool(one_task_per_replica(up=rules(percent(300, 60))), replicas=0)
        assert pool.follow(100, every=60, times=3) == [3, 12, 48]

    def test_a_scale_up_window_takes_the_lowest_and_says_so(self) -> None:
        policy = one_task_per_replica(up=rules(window=30))
        pool = DrivenPool(policy, replicas=2, history=fresh_history(2, 1000.0))
        assert pool.wait(20).recommend(3).message.startswith("holding at 2: the lowest recommendation of the last 30 s")
        decision = pool.wait(10).recommend(8)
        assert (decision.replicas, decision.reason) == (3, Reason.BACKLOG)
        assert decision.limit is not None
        assert decision.limit.reason == Reason.SCALE_UP_STABILIZED
        assert decision.message.startswith("going to 3: the lowest recommendation of the last 30 s; 0 waiting")


class TestTolerance:
    def test_a_little_too_many_replicas_are_left(self) -> None:
        decision = decide(Policy(slots=1), demand(running=19, replicas=20), fresh_history(20, NOW), NOW)
        assert (decision.replicas, decision.reason, decision.limit) == (20, Reason.WITHIN_TARGET, None)
        assert decision.message.startswith("20 is within the tolerance of 10%; 0 waiting + 19 running")

    def test_exactly_ten_percent_too_many_is_still_within(self) -> None:
        pool = DrivenPool(one_task_per_replica(down=ScalingRules(0, tolerance=0.1)), replicas=10)
        assert pool.recommend(9).replicas == 10
        assert pool.recommend(8).replicas == 8

    def test_up_has_no_tolerance_unless_it_is_given(self) -> None:
        assert DrivenPool(one_task_per_replica(), replicas=100).recommend(101).replicas == 101
        patient = one_task_per_replica(up=ScalingRules(0, tolerance=0.05))
        assert DrivenPool(patient, replicas=100).recommend(105).replicas == 100
        assert DrivenPool(patient, replicas=100).recommend(106).replicas == 106

    def test_even_a_tolerance_of_everything_lets_an_idle_pool_go(self) -> None:
        pool = DrivenPool(one_task_per_replica(down=ScalingRules(0, tolerance=1.0)), replicas=5)
        pool.recommend(0)
        assert pool.wait(300).recommend(0).replicas == 0


class TestScaleDown:
    def test_a_dip_shorter_than_the_window_removes_nothing(self) -> None:
        pool = DrivenPool(Policy(slots=1), replicas=5, history=fresh_history(5, 1000.0))
        counts = []
        for second in range(120):
            counts.append(pool.recommend(5 if second % 50 == 0 else 1).replicas)
            pool.wait(1)
        assert set(counts) == {5}

    def test_it_holds_in_words(self) -> None:
        decision = decide(Policy(slots=4), demand(running=3, replicas=5), fresh_history(5, NOW - 1), NOW)
        assert (decision.replicas, decision.reason) == (5, Reason.STABILIZED)
        assert decision.limit is not None
        assert decision.limit.reason == Reason.SCALE_DOWN_STABILIZED
        assert decision.message == (
            "holding at 5: the highest recommendation of the last 60 s; "
            "0 waiting + 3 running over 4 slots per replica: 1 replica (runtime not yet known)"
        )

    def test_a_recommendation_above_the_bounds_is_told_as_it_was(self) -> None:
        pool = DrivenPool(one_task_per_replica(down=rules(window=60), max_replicas=5), replicas=5)
        pool.recommend(8)
        decision = pool.wait(30).recommend(2)
        assert decision.replicas == 5
        assert decision.message.startswith("holding at 5: the highest recommendation of the last 60 s is 8; ")

    def test_it_goes_to_the_highest_recommendation_not_to_the_latest(self) -> None:
        pool = DrivenPool(one_task_per_replica(down=rules(window=60)), replicas=9)
        for recommended in (9, 6, 4):
            pool.recommend(recommended)
            pool.wait(25)
        decision = pool.recommend(2)
        assert (decision.replicas, decision.reason) == (6, Reason.DEMAND_FELL)
        assert decision.message.startswith("going to 6: the highest recommendation of the last 60 s; ")

    def test_a_new_leader_holds_for_one_window_but_grows_at_once(self) -> None:
        policy, history = Policy(slots=1), fresh_history(8, NOW)
        assert decide(policy, demand(running=2, replicas=8), history, NOW + 59).replicas == 8
        assert decide(policy, demand(running=2, replicas=8), history, NOW + 61).replicas == 2
        assert decide(policy, demand(running=9, replicas=8), history, NOW).replicas == 9

    def test_min_replicas_stay_and_the_limit_is_named(self) -> None:
        policy = Policy(slots=1, min_replicas=2)
        decision = decide(policy, demand(replicas=2), fresh_history(2, NOW - 100), NOW)
        assert (decision.replicas, decision.reason) == (2, Reason.IDLE)
        assert decision.limit is not None
        assert decision.limit.reason == Reason.TOO_FEW_REPLICAS
        assert decision.message.endswith("0 replicas; raised to 2 by minReplicas")

    def test_a_raised_minimum_or_a_lowered_maximum_takes_effect_at_once(self) -> None:
        raised = decide(Policy(slots=1, min_replicas=3), demand(replicas=1), fresh_history(1, NOW), NOW)
        assert (raised.replicas, raised.reason) == (3, Reason.TOO_FEW_REPLICAS)
        lowered = decide(Policy(slots=1, max_replicas=4), demand(running=9, replicas=9), fresh_history(9, NOW), NOW)
        assert (lowered.replicas, lowered.reason) == (4, Reason.TOO_MANY_REPLICAS)


class TestZero:
    def test_n_to_one_after_the_window_one_to_zero_after_the_cooldown(self) -> None:
        pool = DrivenPool(Policy(slots=1), replicas=5, history=fresh_history(5, 1000.0))
        seen = []
        for _ in range(620):
            seen.append(pool.see(demand(replicas=pool.replicas)).replicas)
            pool.wait(0.5)
        assert seen == [5] * 120 + [1] * 480 + [0] * 20, "60 s, then 300 s since the first idle reading"

    def test_the_step_to_one_in_words(self) -> None:
        history = replace(fresh_history(5, NOW - 61), idle_since=NOW - 61)
        decision = decide(Policy(slots=1), demand(replicas=5), history, NOW)
        assert (decision.replicas, decision.reason) == (1, Reason.DEMAND_FELL)
        assert decision.message == "1 kept warm, 0 after 300 s of nothing waiting, running or scheduled"

    def test_the_wait_for_zero_in_words(self) -> None:
        history = replace(fresh_history(1, NOW - 86), idle_since=NOW - 86)
        pending = decide(Policy(slots=1), demand(replicas=1), history, NOW)
        assert (pending.replicas, pending.reason, pending.limit) == (1, Reason.ZERO_PENDING, None)
        assert pending.message == "0 after 300 s of nothing waiting, running or scheduled"
        done = decide(Policy(slots=1), demand(replicas=1), history, NOW + 214)
        assert (done.replicas, done.reason, done.limit) == (0, Reason.SCALE_TO_ZERO, None)
        assert done.message == "0 after 300 s of nothing waiting, running or scheduled"
        after = decide(Policy(slots=1), demand(replicas=0), done.history, NOW + 215)
        assert (after.replicas, after.reason) == (0, Reason.IDLE)
        assert after.message == "nothing waiting, running or scheduled: 0 replicas"

    @pytest.mark.parametrize("replicas", [1, 7])
    def test_zero_has_its_own_clock_shorter_than_the_window_too(self, replicas: int) -> None:
        policy = Policy(slots=1, scale_to_zero_after_seconds=10)
        pool = DrivenPool(policy, replicas=replicas, history=fresh_history(replicas, 1000.0))
        pool.recommend(replicas)
        assert pool.see(demand(replicas=replicas)).replicas == replicas
        assert pool.wait(9.5).see(demand(replicas=replicas)).replicas == replicas
        assert pool.wait(0.5).see(demand(replicas=replicas)).replicas == 0

    def test_a_trickle_starts_the_clock_anew_with_every_task(self) -> None:
        pool = DrivenPool(Policy(slots=1), replicas=1, history=fresh_history(1, 1000.0))
        for second in range(1500):
            busy = second % 290 == 0
            assert pool.see(demand(running=int(busy), replicas=1)).replicas == 1
            pool.wait(1)

    @pytest.mark.parametrize(
        "held",
        [
            pytest.param(demand(scheduled=3, replicas=1), id="ETA tasks"),
            pytest.param(demand(running=1, replicas=1), id="a running task"),
            pytest.param(demand(exact=False, replicas=1), id="an estimate"),
        ],
    )
    def test_a_pool_that_holds_anything_stays_up_for_good(self, held: Demand) -> None:
        pool = DrivenPool(Policy(slots=1), replicas=1, history=fresh_history(1, 1000.0))
        for _ in range(20):
            assert pool.see(held).replicas == 1
            pool.wait(600)

    def test_a_doubt_stops_the_clock(self) -> None:
        pool = DrivenPool(Policy(slots=1), replicas=1, history=fresh_history(1, 1000.0))
        pool.see(demand(replicas=1))
        pool.wait(299).see(doubt(1, since=pool.now))
        assert pool.wait(1).see(demand(replicas=1)).replicas == 1, "what was not read was not seen to be idle"
        assert pool.wait(300).see(demand(replicas=1)).replicas == 0

    def test_a_new_leader_goes_on_counting_from_the_status(self) -> None:
        history = fresh_history(1, NOW, idle_since=NOW - 290)
        assert decide(Policy(slots=1), demand(replicas=1), history, NOW).replicas == 1
        assert decide(Policy(slots=1), demand(replicas=1), history, NOW + 10).replicas == 0

    def test_a_slow_or_disabled_scale_down_is_obeyed_on_the_way_to_zero(self) -> None:
        slow = Policy(slots=1, behavior=Behavior(scale_down=rules(percent(50, 60))))
        pool = DrivenPool(slow, replicas=8, history=fresh_history(8, 1000.0, idle_since=0.0))
        counts = []
        for _ in range(5):
            counts.append(pool.see(demand(replicas=pool.replicas)).replicas)
            pool.wait(60)
        assert counts == [4, 2, 1, 0, 0]
        never = Policy(slots=1, behavior=Behavior(scale_down=rules(select=SelectPolicy.DISABLED)))
        history = fresh_history(1, NOW - 900, idle_since=NOW - 900)
        decision = decide(never, demand(replicas=1), history, NOW)
        assert (decision.replicas, decision.reason) == (1, Reason.DEMAND_FELL)
        assert decision.message.endswith("limited to 1: behavior.scaleDown is Disabled")

    @pytest.mark.parametrize("replicas", [1, 4])
    def test_zero_is_not_promised_where_scale_down_is_disabled(self, replicas: int) -> None:
        never = Policy(slots=1, behavior=Behavior(scale_down=rules(select=SelectPolicy.DISABLED)))
        history = fresh_history(replicas, NOW - 100, idle_since=NOW - 100)
        decision = decide(never, demand(replicas=replicas), history, NOW)
        assert decision.replicas == replicas
        assert decision.message.endswith(f"limited to {replicas}: behavior.scaleDown is Disabled")


class TestAgent:
    """With the agent, ETA tasks may rest in their queues, and what others hold is known to be theirs."""

    def test_far_eta_tasks_let_a_pool_sleep_and_the_sentence_says_so(self) -> None:
        pool = DrivenPool(Policy(slots=1), replicas=1, history=fresh_history(1, 1000.0))
        held = demand(replicas=1, scheduled=3, agent=True)
        assert pool.see(held).message == "0 after 300 s of nothing waiting or running, 3 ETA tasks not yet due"
        asleep = pool.wait(300).see(held)
        assert (asleep.replicas, asleep.reason) == (0, Reason.SCALE_TO_ZERO)

    @pytest.mark.parametrize(
        ("scheduled", "deferred", "replicas"), [(100, 0, 0), (60, 41, 1), (101, 0, 1), (0, 101, 0)]
    )
    def test_only_so_many_as_can_be_looked_through_may_rest(self, scheduled: int, deferred: int, replicas: int) -> None:
        history = fresh_history(1, NOW, idle_since=NOW - 900)
        seen = demand(replicas=1, scheduled=scheduled, deferred=deferred, agent=True)
        assert decide(Policy(slots=1), seen, history, NOW).replicas == replicas

    @pytest.mark.parametrize(("due_in", "replicas"), [(600.0, 0), (12.1, 0), (12.0, 1), (0.0, 1)])
    def test_a_sleeping_pool_wakes_when_a_pod_just_comes_in_time(self, due_in: float, replicas: int) -> None:
        seen = demand(deferred=1, next_eta_seconds=due_in, cold_start_seconds=10.0, agent=True)
        decision = decide(Policy(slots=1), seen, fresh_history(0, NOW), NOW)
        assert decision.replicas == replicas
        if replicas:
            due = "nothing waiting, but an ETA task is due too soon to be without a worker: 1 replica"
            assert decision.message == due

    def test_a_pool_does_not_fall_asleep_for_less_time_than_that_takes(self) -> None:
        history = fresh_history(1, NOW, idle_since=NOW - 900)
        near = demand(replicas=1, deferred=1, next_eta_seconds=299.0, agent=True)
        kept = decide(Policy(slots=1), near, history, NOW)
        assert (kept.replicas, kept.history.idle_since) == (1, None)
        assert decide(Policy(slots=1), replace(near, next_eta_seconds=301.0), history, NOW).replicas == 0

    def test_an_eta_that_was_read_is_remembered_while_a_worker_holds_the_task(self) -> None:
        policy = Policy(slots=1, scale_to_zero_after_seconds=10)
        pool = DrivenPool(policy, replicas=1, history=fresh_history(1, 1000.0, idle_since=0.0))
        assert pool.see(demand(replicas=1, deferred=1, next_eta_seconds=8.0, agent=True)).replicas == 1
        held = demand(replicas=1, scheduled=1, agent=True)
        assert pool.wait(7).see(held).history.idle_since is None
        assert pool.wait(60).see(held).history.idle_since == pool.now, "what is past is forgotten"

    def test_a_revoked_eta_task_is_waited_for_no_longer(self) -> None:
        pool = DrivenPool(Policy(slots=1), replicas=1, history=fresh_history(1, 1000.0, idle_since=0.0))
        pool.see(demand(replicas=1, deferred=1, next_eta_seconds=200.0, agent=True))
        gone = pool.wait(1).see(demand(replicas=1, agent=True))
        assert gone.history.idle_since == pool.now

    @pytest.mark.parametrize(("replicas", "kept"), [(0, 0), (1, 1), (4, 1)])
    def test_what_others_hold_keeps_the_last_replica_and_nothing_else(self, replicas: int, kept: int) -> None:
        history = fresh_history(1, NOW - 900, idle_since=NOW - 900)
        decision = decide(Policy(slots=1), demand(replicas=replicas, held_elsewhere=7, agent=True), history, NOW)
        assert decision.replicas == kept
        assert "7 messages held by workers outside the pool" in decision.message

    def test_without_the_agent_a_scheduled_task_keeps_its_worker(self) -> None:
        history = fresh_history(1, NOW - 900, idle_since=NOW - 900)
        assert decide(Policy(slots=1), demand(replicas=1, scheduled=1), history, NOW).replicas == 1


class TestTargetBelowColdStart:
    SLOW = demand(waiting=5, replicas=5, cold_start_seconds=10.0, runtime_seconds=600.0)

    def test_a_target_that_no_new_pod_can_keep_is_told(self) -> None:
        limit = decide(Policy(slots=1), self.SLOW, fresh_history(5, NOW), NOW).limit
        assert limit is not None
        assert limit.reason == Reason.TARGET_BELOW_COLD_START
        words = (
            "a pod takes 10 s to start: a task that needs a new one waits longer than 10 s (target.queueWaitSeconds)"
        )
        assert limit.message == words

    def test_what_really_limits_is_told_first(self) -> None:
        busy = replace(self.SLOW, waiting=50)
        limit = decide(Policy(slots=1), busy, fresh_history(5, NOW), NOW).limit
        assert limit is not None
        assert limit.reason == Reason.TOO_MANY_REPLICAS

    def test_a_faster_start_or_another_target_is_no_limit(self) -> None:
        faster = replace(self.SLOW, cold_start_seconds=9.9)
        assert decide(Policy(slots=1), faster, fresh_history(5, NOW), NOW).limit is None
        per_slot = Policy(slots=1, target=TasksPerSlotTarget(1))
        assert decide(per_slot, self.SLOW, fresh_history(5, NOW), NOW).limit is None


class TestOwnersWord:
    @pytest.mark.parametrize("pin", [0, 1, 50])
    def test_a_pin_holds_whatever_the_demand_and_the_bounds(self, pin: int) -> None:
        policy = Policy(slots=1, min_replicas=2, max_replicas=20, pinned_replicas=pin)
        for seen in (demand(waiting=900, replicas=4), demand(replicas=4), doubt(4)):
            decision = decide(policy, seen, fresh_history(4, NOW), NOW)
            assert (decision.replicas, decision.reason, decision.active) == (pin, Reason.PINNED, False)
            assert decision.limit is None

    def test_an_unpinned_pool_shrinks_after_one_window_not_at_once(self) -> None:
        pinned = Policy(slots=1, pinned_replicas=6)
        pool = DrivenPool(pinned, replicas=6, history=fresh_history(6, 1000.0))
        pool.see(demand(running=1, replicas=6))
        pool.wait(3600).see(demand(running=1, replicas=6))
        pool.policy = replace(pinned, pinned_replicas=None)
        assert pool.wait(1).see(demand(running=1, replicas=6)).replicas == 6
        assert pool.wait(60).see(demand(running=1, replicas=6)).replicas == 1

    def test_paused_leaves_the_replicas_alone_pin_or_no_pin(self) -> None:
        for pin in (None, 9):
            policy = Policy(slots=1, mode=Mode.PAUSED, pinned_replicas=pin)
            decision = decide(policy, demand(waiting=50, replicas=3), fresh_history(3, NOW), NOW)
            assert (decision.replicas, decision.reason, decision.active) == (3, Reason.PAUSED, False)
            assert decision.message == "scaling.mode is Paused: 3 replicas left as they are"

    def test_a_dry_run_decides_exactly_what_auto_would(self) -> None:
        policy = Policy(slots=4)
        for seen in (demand(waiting=50, replicas=3), demand(replicas=3), doubt(3)):
            dry = decide(replace(policy, mode=Mode.DRY_RUN), seen, fresh_history(3, NOW), NOW)
            assert dry == decide(policy, seen, fresh_history(3, NOW), NOW)


class TestDoubt:
    def test_the_replicas_hold_and_the_reason_is_told(self) -> None:
        decision = decide(Policy(slots=1), doubt(5, since=NOW - 900), fresh_history(5, NOW), NOW)
        assert (decision.replicas, decision.reason, decision.active) == (5, Reason.HOLDING, False)
        assert decision.message.startswith("holding at 5: Redis at redis:6379 is loading its data")

    def test_a_pool_at_zero_stays_there(self) -> None:
        assert decide(Policy(slots=1), doubt(0, since=0.0), fresh_history(0, NOW), NOW).replicas == 0

    def test_min_replicas_need_no_broker(self) -> None:
        assert decide(Policy(slots=1, min_replicas=2), doubt(0), fresh_history(0, NOW), NOW).replicas == 2

    def test_the_fallback_comes_after_its_time(self) -> None:
        policy = Policy(slots=1, fallback=Fallback(after_seconds=60, replicas=4))
        early = decide(policy, doubt(1, since=NOW - 59), fresh_history(1, NOW), NOW)
        assert (early.replicas, early.reason) == (1, Reason.HOLDING)
        due = decide(policy, doubt(1, since=NOW - 60), fresh_history(1, NOW), NOW)
        assert (due.replicas, due.reason) == (4, Reason.FALLBACK)
        assert due.message.startswith("fallback of 4: unreadable for 60 s: Redis at")

    def test_the_fallback_never_scales_down_nor_above_the_maximum(self) -> None:
        policy = Policy(slots=1, max_replicas=10, fallback=Fallback(after_seconds=60, replicas=4))
        kept = decide(policy, doubt(7, since=0.0), fresh_history(7, NOW), NOW)
        assert kept.replicas == 7
        assert kept.message.startswith("fallback of 4, holding at 7 (a doubt never scales down): unreadable")
        greedy = replace(policy, fallback=Fallback(after_seconds=60, replicas=40))
        assert decide(greedy, doubt(7, since=0.0), fresh_history(7, NOW), NOW).replicas == 10

    def test_after_the_doubt_the_pool_shrinks_only_after_one_window(self) -> None:
        """A Redis that comes back empty must not take the workers away with the first reading."""
        pool = DrivenPool(Policy(slots=1), replicas=6, history=fresh_history(6, 1000.0))
        pool.see(demand(running=6, replicas=6))
        for _ in range(60):
            pool.wait(10).see(doubt(6, since=1000.0))
        assert pool.wait(1).see(demand(replicas=6)).replicas == 6
        assert pool.wait(60).see(demand(replicas=6)).replicas == 1
