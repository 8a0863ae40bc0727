"""What holds for the decision of every pool, whatever its policy, its past and what is read of it."""

import copy
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.api.reasons import Reason
from celeriac.scaling.decide import decide, fresh_history
from celeriac.scaling.edges import next_edge
from celeriac.scaling.eta import RESTING_MESSAGES, WAKE_MARGIN_SECONDS
from celeriac.scaling.history import WINDOW_STEPS
from celeriac.scaling.policy import Behavior, Mode, Policy, ScalingRules, SelectPolicy
from celeriac.scaling.workload import Demand, Doubt
from tests.unit.scaling.properties.imagined import (
    Lived,
    counts,
    demands,
    doubts,
    few,
    lived,
    modest_demands,
    nothing_to_do,
    pins,
    policies,
    promise,
    wild_demands,
)
from tests.unit.scaling.virtual_time import DrivenPool

pytestmark = pytest.mark.unit


def with_mode(mode: Mode) -> st.SearchStrategy[Policy]:
    return policies(modes=st.just(mode), pins=st.none())


def any_but_paused() -> st.SearchStrategy[Policy]:
    return policies(modes=st.sampled_from([Mode.AUTO, Mode.DRY_RUN]), pins=st.none())


class TestBounds:
    @promise()
    @given(lived(any_but_paused(), demands))
    def test_demand_asks_for_no_fewer_than_the_least_and_no_more_than_the_most(self, it: Lived) -> None:
        policy = it.pool.policy
        assert policy.min_replicas <= it.decides().replicas <= policy.max_replicas

    @promise(0.5)
    @given(lived(policies(modes=st.sampled_from([Mode.AUTO, Mode.DRY_RUN]), pins=pins.filter(bool))))
    def test_a_pin_is_obeyed_to_the_number_whatever_is_read(self, it: Lived) -> None:
        decision = it.decides()
        assert (decision.replicas, decision.reason) == (it.pool.policy.pinned_replicas, Reason.PINNED)

    @promise(0.5)
    @given(lived(policies(modes=st.just(Mode.PAUSED))))
    def test_a_paused_pool_is_left_as_it_is_a_pin_included(self, it: Lived) -> None:
        assert it.decides().replicas == it.pool.replicas

    @promise()
    @given(lived(any_but_paused(), doubts))
    def test_in_doubt_a_pool_never_shrinks_and_grows_to_its_fallback_at_most(self, it: Lived) -> None:
        policy, current, decision = it.pool.policy, it.pool.replicas, it.decides()
        assert isinstance(it.sees, Doubt)
        assert decision.replicas >= max(current, policy.min_replicas)
        due = policy.fallback is not None and it.pool.now - it.sees.since >= policy.fallback.after_seconds
        floor = min(policy.fallback.replicas, policy.max_replicas) if policy.fallback and due else 0
        assert decision.replicas == max(current, policy.min_replicas, floor)

    @promise(0.5)
    @given(lived(sight=modest_demands | nothing_to_do | wild_demands))
    def test_while_the_broker_refuses_writes_only_the_maximum_removes_replicas(self, it: Lived) -> None:
        assert isinstance(it.sees, Demand)
        assert it.decides(replace(it.sees, refused=True)).replicas >= min(it.pool.replicas, it.pool.policy.max_replicas)


class TestMoreDemand:
    """With the same past and the same replicas. Over time it does not hold: see the head start for new pods."""

    @promise(3)
    @given(
        lived(policies(windows=st.sampled_from([0, 0, 0, 60]), modes=st.just(Mode.AUTO), pins=st.none()), demands),
        st.sampled_from([1, 1, 0, 1_000_000]),
        *(few | counts, st.sampled_from(["waiting", "waiting", "running", "arrival_rate"])),
    )
    def test_more_tasks_never_ask_for_fewer_replicas(self, it: Lived, waiting: int, more: int, of_what: str) -> None:
        """One that waits besides, or more of one kind only."""
        less = it.sees
        assert isinstance(less, Demand)
        fewest = it.decides(less).replicas
        assert it.decides(replace(less, waiting=less.waiting + waiting)).replicas >= fewest
        assert it.decides(replace(less, **{of_what: getattr(less, of_what) + more})).replicas >= fewest

    @promise()
    @given(lived(any_but_paused(), modest_demands | nothing_to_do), st.sampled_from([1, 101]), st.booleans())
    def test_what_workers_hold_besides_never_asks_for_fewer(self, it: Lived, scheduled: int, elsewhere: bool) -> None:
        """ETA tasks, messages at other workers, an estimate in the place of a count."""
        less = it.sees
        assert isinstance(less, Demand)
        more = replace(less, scheduled=less.scheduled + scheduled, held_elsewhere=less.held_elsewhere + elsewhere)
        fewest = it.decides(less).replicas
        assert it.decides(more).replicas >= fewest
        assert it.decides(replace(less, exact=False)).replicas >= fewest

    @promise()
    @given(lived(any_but_paused(), modest_demands), st.floats(0, 100), st.floats(0, 100))
    def test_longer_tasks_and_slower_starts_never_ask_for_fewer(self, it: Lived, longer: float, slower: float) -> None:
        less = it.sees
        assert isinstance(less, Demand)
        runtime = None if less.runtime_seconds is None else less.runtime_seconds + longer
        more = replace(less, runtime_seconds=runtime, cold_start_seconds=less.cold_start_seconds + slower)
        assert it.decides(more).replicas >= it.decides(less).replicas


lapses: st.SearchStrategy[Demand | Doubt | None] = st.sampled_from(
    [
        *(None, None, None, None),
        Doubt(0, 0.0, Reason.BROKER_TIMEOUT, "Redis did not answer in 1 s"),
        Demand(1, 0, 0, agent=True),
        Demand(0, 1, 0, agent=True),
        Demand(0, 0, 0, agent=True, exact=False),
        Demand(0, 0, 0, agent=True, held_elsewhere=1),
        Demand(0, 0, 0, agent=True, deferred=1, next_eta_seconds=1.0),
    ]
)
"""What keeps a pool from its sleep; mostly nothing does."""


class TestZero:
    @promise(2)
    @given(lived(any_but_paused(), modest_demands | nothing_to_do | wild_demands))
    def test_no_pool_goes_to_zero_or_stays_there_while_a_task_waits_runs_or_is_due_soon(self, it: Lived) -> None:
        sees, current = it.sees, it.pool.replicas
        assert isinstance(sees, Demand)
        if it.decides().replicas > 0:
            return
        assert sees.waiting == sees.running == 0
        resting = sees.agent and sees.gives_back and sees.scheduled + sees.deferred <= RESTING_MESSAGES
        assert resting or not sees.scheduled, "nobody would know of what its workers hold"
        if sees.agent and sees.next_eta_seconds is not None:
            assert sees.next_eta_seconds > sees.cold_start_seconds + WAKE_MARGIN_SECONDS, "a pod must start in time"
        if current:
            assert sees.exact, "an estimate proves nothing"
            assert not sees.held_elsewhere
            if sees.agent and sees.next_eta_seconds is not None:
                assert sees.next_eta_seconds > it.pool.policy.scale_to_zero_after_seconds

    @promise(2)
    @given(
        st.sampled_from([0, 1, 60]),
        st.sampled_from([10, 30, 60]),
        st.lists(st.tuples(st.sampled_from([1.0, 5.0, 9.5, 20.0, 45.0]), lapses), min_size=2, max_size=9),
    )
    def test_a_pool_goes_to_zero_only_after_it_was_seen_idle_all_the_time(
        self, window: int, seconds: int, story: list[tuple[float, Demand | Doubt | None]]
    ) -> None:
        """From the first reading of this story on; whatever says something else starts the clock anew."""
        behavior = Behavior(scale_down=ScalingRules(window, 0.1))
        policy = Policy(slots=1, scale_to_zero_after_seconds=seconds, behavior=behavior)
        pool = DrivenPool(policy, 1, history=fresh_history(1, 1000.0))
        idle_since = math.inf
        for pause, lapse in story:
            seen = lapse or Demand(0, 0, 0, agent=True)
            decision = pool.ask(replace(seen, current_replicas=pool.replicas))
            pool.history = decision.history
            idle_since = min(idle_since, pool.now) if lapse is None else math.inf
            assert decision.replicas > 0 or pool.now - idle_since >= seconds
            pool.wait(pause)

    @promise()
    @given(lived(any_but_paused()))
    def test_a_pool_without_anything_to_do_ends_at_its_least(self, it: Lived) -> None:
        """Whatever its tolerance, windows and rates; but not where `behavior` forbids it to shrink."""
        pool = it.pool
        pool.replicas, edge = min(9, pool.replicas), 0.0
        for _ in range(400):
            decision = pool.see(Demand(0, 0, pool.replicas, agent=True))
            idle = Demand(0, 0, pool.replicas, agent=True)
            edge = next_edge(pool.policy, idle, pool.ask(idle).history, pool.now)
            if edge == math.inf and decision.replicas == idle.current_replicas:
                break
            pool.now = max(pool.now + 0.5, min(pool.now + 1_000_000, edge))
        assert edge == math.inf
        disabled = pool.policy.behavior.scale_down.select_policy is SelectPolicy.DISABLED
        assert pool.replicas == pool.policy.min_replicas or disabled


class TestPureFunction:
    @promise()
    @given(lived(policies()))
    def test_the_same_is_decided_of_the_same_and_what_was_given_is_left_as_it_was(self, it: Lived) -> None:
        pool = it.pool
        policy, sees, history = copy.deepcopy((pool.policy, it.sees, pool.history))
        first = it.decides()
        assert (pool.policy, it.sees, pool.history) == (policy, sees, history)
        it.decides(Demand(7, 7, 1))
        assert decide(policy, sees, history, pool.now) == first

    @promise()
    @given(lived(policies()))
    def test_deciding_again_at_the_same_moment_gives_the_same(self, it: Lived) -> None:
        first = it.decides()
        assert decide(it.pool.policy, it.sees, first.history, it.pool.now) == first

    @promise()
    @given(lived(policies(), wild_demands | doubts))
    def test_no_figure_that_may_be_read_gets_out_of_hand(self, it: Lived) -> None:
        decision = it.decides()
        assert type(decision.replicas) is int
        assert 0 <= decision.replicas <= 10_000
        assert not {"nan", "inf"} & set(decision.message.replace("(", " ").split())
        assert max(len(decision.history.highest), len(decision.history.lowest)) <= WINDOW_STEPS + 1
        edges = [each.at for each in (*decision.history.highest, *decision.history.lowest)]
        assert all(at <= it.pool.now for at in edges)
