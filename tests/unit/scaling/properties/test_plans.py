"""What holds for what is really done: nobody who works is stopped, whoever Kubernetes may choose."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.api.reasons import Reason
from celeriac.scaling.decision import Decision, Plan
from celeriac.scaling.plan import plan
from celeriac.scaling.policy import Mode, Policy
from celeriac.scaling.workload import MARKED_COST, Demand, Doubt, Pod, Workload
from tests.unit.scaling.properties.imagined import (
    Lived,
    demands,
    doubts,
    lived,
    modest_demands,
    nothing_to_do,
    pods,
    policies,
    promise,
)
from tests.unit.scaling.properties.replica_set import replicas_of, stopped

pytestmark = pytest.mark.unit

AUTO = Policy(slots=2, max_replicas=10)
seen = modest_demands | modest_demands | nothing_to_do | doubts
workloads = st.integers(1, 5).flatmap(pods)


@st.composite
def pools(draw: st.DrawFn) -> Workload:
    """A Deployment whose pods are not always as many as its replicas."""
    its_pods = draw(workloads)
    number = len(replicas_of(its_pods))
    unseen = draw(st.sampled_from([0] * 8 + [1]))
    replicas = max(0, number + unseen + draw(st.sampled_from([0] * 8 + [-1, 1, 3])))
    return Workload(replicas, pods=its_pods, agent=True, unseen=unseen)


def planned(policy: Policy, wanted: int, reading: Demand | Doubt, workload: Workload) -> Plan:
    reading = replace(reading, current_replicas=workload.replicas)
    return plan(policy, Decision(wanted, Reason.DEMAND_FELL, "the sentence"), reading, workload)


def at_rest(pod: Pod) -> bool:
    """Whether it holds nothing and is told to take nothing: it has drained, or will find its mark before it starts.

    One that cannot drain says for itself that it holds nothing.
    """
    if not pod.marked:
        return False
    if not pod.started:
        return True
    return pod.drained if pod.drainable else pod.quiet is True


class TestVictims:
    @promise(5)
    @given(pools(), st.sampled_from([0, 0, 1, 2]), seen, st.sampled_from([False, False, True]))
    def test_whoever_kubernetes_takes_has_drained_or_never_started(
        self, workload: Workload, wanted: int, reading: Demand | Doubt, pinned: bool
    ) -> None:
        """Who cannot drain goes for a pin, and where the whole pool is at rest; its grace period protects it."""
        done = planned(replace(AUTO, pinned_replicas=wanted) if pinned else AUTO, wanted, reading, workload)
        if done.replicas is None or done.replicas >= workload.replicas:
            return
        assert isinstance(reading, Demand), "unknown never scales down"
        anyone = pinned or reading.idle
        number = len(replicas_of(workload.pods)) + workload.unseen - done.replicas
        assert number <= 0 or not workload.unseen, "what an unseen pod runs is not known"
        for pod in stopped(workload.pods, number, unwanted=lambda pod: not at_rest(pod)):
            assert at_rest(pod) or (anyone and not pod.drainable)

    @promise(2)
    @given(pools(), st.integers(0, 6), seen, st.sampled_from(Mode))
    def test_a_plan_never_goes_beyond_what_was_decided(
        self, workload: Workload, wanted: int, reading: Demand | Doubt, mode: Mode
    ) -> None:
        done = planned(replace(AUTO, mode=mode), wanted, reading, workload)
        assert done.replicas is None or min(wanted, workload.replicas) <= done.replicas <= max(
            wanted, workload.replicas
        )
        assert done.replicas != workload.replicas
        if wanted > workload.replicas and mode is Mode.AUTO:
            assert done.replicas == wanted, "more are set at once"

    @promise(2)
    @given(pools(), st.integers(0, 6), seen)
    def test_marks_and_costs_never_change_in_the_plan_that_removes_pods(
        self, workload: Workload, wanted: int, reading: Demand | Doubt
    ) -> None:
        done = planned(AUTO, wanted, reading, workload)
        if done.replicas is not None and done.replicas < workload.replicas:
            assert done.drain == done.undrain == done.release == ()

    @promise(2)
    @given(pools(), st.integers(0, 6), modest_demands)
    def test_no_more_workers_are_marked_than_are_to_go(self, workload: Workload, wanted: int, reading: Demand) -> None:
        done = planned(AUTO, wanted, reading, workload)
        there = replicas_of(workload.pods)
        assert {*done.drain, *done.undrain, *done.release} <= {pod.uid for pod in there}
        assert not set(done.drain) & set(done.undrain)
        assert len(done.drain) <= max(0, len(there) - wanted)
        if wanted >= workload.replicas >= len(there):
            assert set(done.undrain) == {pod.uid for pod in there if pod.marked}, "all work again"

    @promise()
    @given(pools(), doubts, st.integers(0, 9))
    def test_in_doubt_no_mark_changes_and_nobody_goes(self, workload: Workload, reading: Doubt, wanted: int) -> None:
        for policy in (AUTO, replace(AUTO, pinned_replicas=wanted)):
            done = planned(policy, wanted, reading, workload)
            assert done.drain == done.undrain == done.release == ()
            assert done.replicas is None or done.replicas > workload.replicas

    @promise()
    @given(pools(), st.integers(0, 9), seen, st.sampled_from([Mode.PAUSED, Mode.DRY_RUN]))
    def test_a_pool_that_is_not_scaled_changes_nothing_and_marks_nobody(
        self, workload: Workload, wanted: int, reading: Demand | Doubt, mode: Mode
    ) -> None:
        done = planned(replace(AUTO, mode=mode), wanted, reading, workload)
        assert done.replicas is None
        assert done.drain == done.release == ()

    @promise()
    @given(pools(), st.integers(0, 9), seen)
    def test_in_a_rollout_that_is_not_known_nobody_goes_and_nobody_new_is_marked(
        self, workload: Workload, wanted: int, reading: Demand | Doubt
    ) -> None:
        done = planned(AUTO, wanted, reading, replace(workload, rollout_in_progress=True))
        assert not done.drain
        assert done.replicas is None or done.replicas > workload.replicas

    @promise()
    @given(pools(), st.integers(0, 6), seen)
    def test_the_same_is_planned_of_the_same_pods_in_whatever_order(
        self, workload: Workload, wanted: int, reading: Demand | Doubt
    ) -> None:
        turned = replace(workload, pods=workload.pods[::-1])
        one, other = planned(AUTO, wanted, reading, workload), planned(AUTO, wanted, reading, turned)
        for done in (one, other):
            assert (done.replicas, done.reason) == (one.replicas, one.reason)
            assert (set(done.drain), set(done.undrain)) == (set(one.drain), set(one.undrain))
            assert set(done.release) == set(one.release)


class TestProgress:
    @promise()
    @given(workloads, st.integers(0, 6), nothing_to_do)
    def test_where_all_workers_can_drain_and_end_what_they_run_the_wanted_count_is_reached(
        self, its_pods: tuple[Pod, ...], wanted: int, reading: Demand
    ) -> None:
        """Each plan is carried out, and each worker does as its mark says.

        Not while one that has started is not ready, which Kubernetes would take first: for that all wait.
        """
        there = tuple(
            replace(pod, assigned=True, phase="Running", ready=pod.started, drainable=True, recent_costs=frozenset())
            for pod in replicas_of(its_pods)
        )
        workload = Workload(len(there), pods=there, agent=True)
        for _ in range(6):
            done = planned(AUTO, wanted, reading, workload)
            if done.replicas is not None:
                gone = {pod.uid for pod in stopped(workload.pods, workload.replicas - done.replicas, lambda _: False)}
                left = tuple(pod for pod in workload.pods if pod.uid not in gone)
                workload = replace(workload, replicas=done.replicas, pods=left)
                continue
            workload = replace(workload, pods=tuple(self._obeys(pod, done) for pod in workload.pods))
        assert workload.replicas == wanted

    @staticmethod
    def _obeys(pod: Pod, done: Plan) -> Pod:
        if pod.uid in done.drain:
            return replace(pod, marked=True, cost=MARKED_COST, drained=pod.started, running=0)
        if pod.uid in done.undrain:
            return replace(pod, marked=False, cost=0, drained=False)
        return replace(pod, running=0, drained=pod.started) if pod.marked else pod


class TestWithoutAgent:
    @promise()
    @given(lived(policies(modes=st.sampled_from(Mode)), demands | doubts), st.booleans(), st.booleans())
    def test_replicas_go_only_where_nothing_waits_or_is_held_or_for_a_pin(
        self, it: Lived, rolling: bool, hidden: bool
    ) -> None:
        policy, replicas, decision = it.pool.policy, it.pool.replicas, it.decides()
        workload = Workload(replicas, rolling or hidden, hidden=hidden)
        done = plan(policy, decision, it.sees, workload)
        assert done.message
        if done.replicas is None:
            return
        assert policy.mode is Mode.AUTO
        assert done.replicas == decision.replicas != replicas
        if done.replicas < replicas:
            assert rolling is hidden is False
            assert policy.pinned_replicas is not None or (isinstance(it.sees, Demand) and it.sees.idle)
