"""How fast replicas may follow: no window and no rate is ever left, and in between it is the HPA's own way."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.scaling.history import WINDOW_STEPS, fresh_history, record_change, remember
from celeriac.scaling.policy import Behavior, PolicyType, RatePolicy, ScalingRules, SelectPolicy
from tests.unit.scaling.properties.hpa import Hpa
from tests.unit.scaling.properties.imagined import few, promise
from tests.unit.scaling.virtual_time import DrivenPool, one_task_per_replica

pytestmark = pytest.mark.unit

Story = list[tuple[int, float]]

windows = st.sampled_from([0, 0, 5, 30, 60, 120])
recommendations = st.sampled_from([1, 1, 2, 3, 5, 8, 40]) | st.integers(1, 300)
policies = st.lists(
    st.builds(
        RatePolicy, st.sampled_from(PolicyType), st.sampled_from([1, 4, 10, 50, 100]), st.sampled_from([5, 30, 60])
    ),
    min_size=1,
    max_size=2,
).map(tuple)


def stories(pauses: st.SearchStrategy[float], least: int = 0) -> st.SearchStrategy[Story]:
    """What is recommended one after the other, and for how long."""
    return st.lists(st.tuples(recommendations | st.just(least), pauses), min_size=1, max_size=25)


def rules(*selected: SelectPolicy) -> st.SearchStrategy[ScalingRules]:
    return st.builds(ScalingRules, windows, st.just(0.0), st.sampled_from(selected or list(SelectPolicy)), policies)


class TestWindows:
    @promise()
    @given(
        windows, windows, st.lists(st.tuples(st.integers(0, 40), st.sampled_from([0.1, 0.5, 5.0, 31.0])), max_size=40)
    )
    def test_the_record_of_a_window_errs_by_one_step_of_time_and_only_towards_holding(
        self, up: int, down: int, story: Story
    ) -> None:
        """Against a full record of what was recommended."""
        behavior = Behavior(ScalingRules(up, 0.0), ScalingRules(down, 0.0))
        now, history = 50.0, fresh_history(7, 50.0)
        full = [(now, 7)]
        for recommended, pause in story:
            now += pause
            full.append((now, recommended))
            history = remember(history, behavior, recommended, now)

            def inside(seconds: float, now: float = now) -> list[int]:
                return [count for at, count in full if at > now - seconds or at == now]

            exact, generous = max(inside(down)), max(inside(down * (1 + 1 / WINDOW_STEPS)))
            assert exact <= history.highest[0].replicas <= generous
            exact, generous = min(inside(up)), min(inside(up * (1 + 1 / WINDOW_STEPS)))
            assert generous <= history.lowest[0].replicas <= exact
            assert [each.at for each in history.highest] == sorted(each.at for each in history.highest)

    @promise()
    @given(rules(), rules(), stories(st.sampled_from([0.5, 5.0, 29.5, 60.0]) | st.floats(0.5, 90)), few)
    def test_a_pool_is_never_lowered_below_the_highest_recommendation_of_its_window(
        self, up: ScalingRules, down: ScalingRules, story: Story, replicas: int
    ) -> None:
        pool = DrivenPool(one_task_per_replica(up=up, down=down), replicas, history=fresh_history(replicas, 1000.0))
        record = [(pool.now, replicas)]
        for recommended, pause in story:
            pool.wait(pause)
            before, after = pool.replicas, pool.recommend(recommended).replicas
            record.append((pool.now, recommended))
            highest = max(
                count for at, count in record if at > pool.now - down.stabilization_window_seconds or at == pool.now
            )
            lowest = min(
                count for at, count in record if at > pool.now - up.stabilization_window_seconds or at == pool.now
            )
            assert after >= min(before, highest)
            assert after <= max(before, lowest, 1)


class TestRates:
    @promise()
    @given(rules(SelectPolicy.MAX, SelectPolicy.MIN), st.booleans(), stories(st.floats(0.5, 40), 0))
    def test_no_period_sees_more_change_than_its_policy_allows(
        self, limited: ScalingRules, up: bool, story: Story
    ) -> None:
        """Net of what went the other way meanwhile, as with the HPA; a pool at zero gets its first replica at once."""
        policy = one_task_per_replica(up=limited) if up else one_task_per_replica(down=limited)
        pool = DrivenPool(policy, 6, history=fresh_history(6, 1000.0))
        moments = [(pool.now, 6)]
        for recommended, pause in story:
            pool.wait(pause)
            before, after = pool.replicas, pool.recommend(recommended).replicas
            if after != before and (after > before) == up and not (before == 0 and after == 1):
                allowed = [self._allowed(each, moments, pool.now, up) for each in limited.policies or ()]
                largest = max if limited.select_policy is SelectPolicy.MAX else min
                assert abs(after - before) <= max(0, largest(allowed))
            moments.append((pool.now, after))

    @staticmethod
    def _allowed(policy: RatePolicy, moments: list[tuple[float, int]], now: float, up: bool) -> int:
        """How much further a policy lets the replicas go from their last count, by the counts of all moments."""
        start = [count for at, count in moments if at <= now - policy.period_seconds]
        before = start[-1] if start else moments[0][1]
        share = policy.value if policy.type is PolicyType.PODS else -(-max(1, before) * policy.value // 100)
        gone = moments[-1][1] - before if up else before - moments[-1][1]
        return share - gone

    @promise(0.5)
    @given(st.lists(st.tuples(st.integers(-5, 5), st.sampled_from([0.1, 0.4, 1.0, 50.0])), max_size=40))
    def test_the_record_of_changes_keeps_their_sum_and_never_makes_one_older_than_it_is(self, story: Story) -> None:
        history, now, full = fresh_history(0, 0.0), 0.0, []
        for change, pause in story:
            now += pause
            full.append((now, change))
            history = record_change(history, now, change)
        assert sum(each.change for each in history.changes) == sum(change for _, change in full)
        for since in (now - 1, now - 10, now - 60):
            kept = sum(each.change for each in history.changes if each.at > since)
            later = [change for at, change in full if at > since]
            within_a_second = [change for at, change in full if since - 1 < at <= since]
            sums = list(accumulate(reversed(within_a_second), initial=sum(later)))
            assert kept in sums
        assert len(history.changes) <= now + 1


class TestAsTheHpa:
    @promise(1.5)
    @given(rules(), rules(), stories(st.sampled_from([1, 5, 10, 25, 30, 60]), 1), st.integers(1, 5), st.integers(0, 60))
    def test_windows_rates_and_bounds_are_those_of_the_hpa(
        self, up: ScalingRules, down: ScalingRules, story: Story, least: int, room: int
    ) -> None:
        """From one replica on: the HPA knows no zero. At whole seconds, as the operator's record has steps of time."""
        policy = one_task_per_replica(up=up, down=down, min_replicas=least, max_replicas=least + room)
        pool = DrivenPool(policy, least, history=fresh_history(least, 1000.0))
        hpa = Hpa(policy.behavior, least, least + room, least, [(1000, least)])
        for recommended, pause in story:
            pool.wait(pause)
            assert pool.recommend(recommended).replicas == hpa.turn(recommended, int(pool.now))
