"""Scale-down never kills work: who is marked, who is unmarked, and what may be removed."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac.api.reasons import Reason
from celeriac.scaling.decision import Decision, Plan
from celeriac.scaling.plan import plan
from celeriac.scaling.policy import Mode, Policy
from celeriac.scaling.workload import MARKED_COST, RELEASED_COST, Demand, Doubt, Pod, Workload

pytestmark = pytest.mark.unit

BUSY = Demand(waiting=5, running=9, current_replicas=0, agent=True)
IDLE = Demand(waiting=0, running=0, current_replicas=0, agent=True)
UNREADABLE = Doubt(current_replicas=0, since=0.0, reason=Reason.BROKER_TIMEOUT, message="Redis did not answer in 1 s")
AUTO = Policy(slots=4)


def working(name: str, running: int = 1, created: float = 0.0) -> Pod:
    return Pod(name, f"ml-{name}", assigned=True, phase="Running", ready=True, running=running, created=created)


def marked(pod: Pod) -> Pod:
    return replace(pod, marked=True, cost=MARKED_COST)


def drained(name: str, cost: int = MARKED_COST) -> Pod:
    return replace(marked(working(name, 0)), drained=True, cost=cost)


def newborn(name: str, *, assigned: bool = False) -> Pod:
    return Pod(name, f"ml-{name}", assigned=assigned, phase="Pending", ready=False, started=False)


def planned(
    wanted: int,
    *pods: Pod,
    replicas: int | None = None,
    demand: Demand | Doubt = BUSY,
    policy: Policy = AUTO,
    rollout: bool = False,
    unseen: int = 0,
) -> Plan:
    current = len(pods) if replicas is None else replicas
    workload = Workload(current, rollout, pods, agent=True, unseen=unseen)
    seen = replace(demand, current_replicas=current)
    return plan(policy, Decision(wanted, Reason.DEMAND_FELL, "the sentence"), seen, workload)


class TestVictims:
    def test_the_idle_and_then_the_least_busy_are_marked_and_nothing_is_removed_yet(self) -> None:
        held = planned(2, working("a", 4), working("b", 0), working("c", 1), working("d", 2))
        assert held == Plan(
            None,
            Reason.DRAINING,
            "holding at 4 instead of 2 until drained: ml-b (0 running), ml-c (1 running)",
            drain=("b", "c"),
        )

    def test_pods_that_never_started_come_first(self) -> None:
        held = planned(1, working("a", 0), newborn("b"), newborn("c", assigned=True))
        assert set(held.drain) == {"b", "c"}

    def test_of_equals_the_youngest_goes(self) -> None:
        assert planned(1, working("old", created=1.0), working("young", created=2.0)).drain == ("young",)

    def test_a_victim_stays_one_although_another_gets_idle(self) -> None:
        held = planned(2, marked(working("a", 3)), working("b", 0), working("c", 0))
        assert (held.drain, held.undrain) == ((), ())
        assert held.message == "holding at 3 instead of 2 until drained: ml-a (3 running)"

    def test_one_to_which_somebody_else_gave_a_low_cost_takes_its_place_as_nobody_could_go_before_it(self) -> None:
        """Kubernetes would stop it first: it was never asked to drain, and all others waited for it for ever."""
        swapped = planned(2, marked(working("a", 3)), working("b", 0), replace(working("c", 4), cost=-5000))
        assert (swapped.drain, swapped.undrain) == (("c",), ("a",))
        both_newborn = planned(1, newborn("b"), replace(newborn("c"), cost=MARKED_COST))
        assert both_newborn.drain == ("c",)

    def test_but_one_that_never_started_takes_its_place(self) -> None:
        """Kubernetes would stop it first in any case."""
        swapped = planned(2, marked(working("a", 3)), working("b"), newborn("c"))
        assert (swapped.drain, swapped.undrain) == (("c",), ("a",))

    def test_a_long_list_is_cut(self) -> None:
        message = planned(0, *(working(name) for name in "abcde")).message
        assert message.endswith("ml-a (1 running), ml-b (1 running), ml-c (1 running) and 2 more")


class TestRemoval:
    def test_drained_workers_are_removed(self) -> None:
        done = planned(1, drained("a"), drained("b"), working("c"))
        assert done == Plan(1, Reason.SCALED, "3 -> 1: the sentence")

    def test_a_worker_that_will_find_its_mark_when_it_starts_is_removed(self) -> None:
        assert planned(1, marked(newborn("a")), working("b")).replicas == 1

    def test_a_drained_one_waits_for_no_other_once_it_is_released(self) -> None:
        """Equal in cost they are tied, and the controller may take either: the drained one is told apart first."""
        slow = marked(working("slow", 2))
        tied = planned(1, drained("a"), slow, working("c"))
        assert (tied.replicas, tied.release) == (None, ("a",))
        one = planned(1, drained("a", RELEASED_COST), slow, working("c"))
        assert one == Plan(2, Reason.SCALED, "3 -> 2: the sentence; 1 more until drained: ml-slow (2 running)")

    def test_marks_and_removals_are_never_of_one_plan(self) -> None:
        """The new mark would tie a busy pod with the drained one while the controller chooses."""
        first = planned(1, drained("a"), working("b"), working("c"))
        assert (first.replicas, first.drain, first.undrain) == (2, (), ())
        assert planned(1, working("b"), working("c")).drain == ("b",)

    def test_a_mark_that_the_pod_does_not_carry_in_its_cost_is_not_trusted(self) -> None:
        assert planned(1, replace(drained("a"), cost=0), working("b")).replicas is None

    def test_a_mark_whose_cost_somebody_took_away_is_set_anew(self) -> None:
        """Kubernetes would never stop it first, and it would neither work nor go."""
        robbed = replace(drained("a"), cost=0)
        assert planned(1, robbed, working("b")).drain == ("a",)
        assert planned(1, drained("a", RELEASED_COST), marked(working("b")), working("c")).drain == ()

    def test_nothing_goes_while_pods_exist_that_were_not_seen_yet(self) -> None:
        """After a start the Deployment may be known before its pods, whatever they run."""
        unknown = planned(3, replicas=5, unseen=5, policy=replace(AUTO, pinned_replicas=3))
        assert (unknown.replicas, unknown.reason) == (None, Reason.DRAINING)
        assert unknown.message == "holding at 5 instead of 3 until all its pods are known: 5 were not seen yet"
        partly = planned(1, drained("a"), drained("b"), replicas=3, unseen=1)
        assert partly.replicas is None
        assert planned(1, replicas=3, unseen=1).replicas == 1, "two have no pod at all"

    def test_nothing_goes_before_kubernetes_has_seen_whom_to_stop_first(self) -> None:
        slow = marked(working("slow", 2))
        released = drained("a", RELEASED_COST)
        early = planned(1, replace(released, recent_costs=frozenset({MARKED_COST})), slow, working("c"))
        assert (early.replicas, early.release) == (None, ())
        assert planned(1, released, slow, working("c")).replicas == 2
        alone = planned(1, replace(drained("a"), recent_costs=frozenset({0})), working("b"))
        assert alone.replicas is None
        assert alone.message == "holding at 2 instead of 1 until Kubernetes knows whom to stop first"

    def test_a_worker_that_works_again_may_still_be_taken_for_a_marked_one(self) -> None:
        back = replace(working("back"), recent_costs=frozenset({MARKED_COST}))
        assert planned(1, drained("a"), back).replicas is None
        assert planned(1, drained("a", RELEASED_COST), back).replicas == 1

    def test_one_that_has_just_drained_keeps_no_other_waiting(self) -> None:
        just = replace(drained("just", RELEASED_COST), recent_costs=frozenset({MARKED_COST}))
        assert planned(1, drained("a", RELEASED_COST), just, marked(working("slow")), working("c")).replicas == 3

    def test_a_busy_pod_that_is_not_ready_is_in_the_way_and_named(self) -> None:
        """The controller looks at readiness before it looks at the cost."""
        unready = replace(working("x", 4), ready=False)
        held = planned(2, drained("a"), unready, working("c"))
        assert (held.replicas, held.reason) == (None, Reason.DRAINING)
        expected = "holding at 3 instead of 2 until drained: Kubernetes would stop ml-x (not ready, 4 running) first"
        assert held.message == expected
        assert planned(2, drained("a"), replace(unready, ready=True), working("c")).replicas == 2

    @pytest.mark.parametrize(
        "earlier",
        [
            {"assigned": False},
            {"phase": "Pending"},
            {"phase": "Unknown"},
            {"ready": False},
            {"cost": RELEASED_COST - 1},
            {"cost": MARKED_COST},
        ],
    )
    def test_whoever_may_come_before_the_drained_one_is_waited_for(self, earlier: dict[str, object]) -> None:
        other = replace(working("x"), **earlier)  # type: ignore[arg-type]  # one field each
        assert planned(1, drained("a"), other).replicas is None

    def test_replicas_that_have_no_pod_yet_are_done_without_first(self) -> None:
        fewer = planned(3, working("a"), working("b"), replicas=5)
        assert (fewer.replicas, fewer.drain) == (3, ())
        assert planned(1, working("a"), drained("b"), replicas=5).replicas == 1
        partly = planned(1, working("a"), working("b"), replicas=5)
        assert partly.replicas == 2, "the three that do not exist; of the others none is safe"

    @pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
    def test_an_evicted_pod_that_still_lies_about_is_no_replica(self, phase: str) -> None:
        evicted = replace(working("x", 4), phase=phase, ready=False)
        assert planned(1, evicted, drained("a"), working("b"), replicas=2).replicas == 1

    def test_pods_that_kubernetes_has_yet_to_remove_are_not_counted_twice(self) -> None:
        """5 -> 3 was sent a moment ago: the next removal must not reach beyond the two that go already."""
        pods = (drained("a"), drained("b"), working("c"), working("d"), working("e"))
        again = planned(2, *pods, replicas=3)
        assert (again.replicas, again.drain) == (None, ("c",))


class TestDemandReturns:
    def test_exactly_as_many_work_again_as_are_needed_the_busiest_first(self) -> None:
        back = planned(3, drained("a"), marked(working("b", 1)), marked(working("c", 3)), working("d"))
        assert back.undrain == ("b", "c")
        assert back.replicas is None or back.replicas == 3

    def test_marked_workers_work_again_before_new_ones_start(self) -> None:
        back = planned(6, drained("a"), marked(working("b")), working("c"))
        assert (back.replicas, set(back.undrain)) == (6, {"a", "b"}), "3 work again, and only 3 are started"

    def test_the_same_count_as_now_needs_everybody(self) -> None:
        back = planned(2, marked(working("a")), working("b"))
        assert (back.replicas, back.reason, back.undrain) == (None, Reason.NO_CHANGE, ("a",))

    def test_a_drained_pod_is_not_given_work_while_kubernetes_has_yet_to_remove_it(self) -> None:
        pods = (drained("a"), drained("b"), marked(working("c")), working("d"))
        back = planned(2, *pods, replicas=2)
        assert back.undrain == ("c",), "two of the four go, and only c is certainly none of them"


class TestHolding:
    def test_nobody_is_marked_or_removed_during_a_rollout_but_demand_gets_its_workers_back(self) -> None:
        pods = (drained("a"), marked(working("b")), working("c"))
        held = planned(1, *pods, rollout=True)
        assert (held.replicas, held.reason) == (None, Reason.ROLLOUT_IN_PROGRESS)
        assert (held.drain, held.undrain) == ((), ())
        assert planned(0, *pods, rollout=True).drain == ()
        assert planned(2, *pods, rollout=True).undrain == ("b",)
        grown = planned(5, *pods, rollout=True)
        assert (grown.replicas, set(grown.undrain)) == (5, {"a", "b"})

    @pytest.mark.parametrize("pin", [None, 1])
    @pytest.mark.parametrize("mode", list(Mode))
    def test_in_doubt_no_mark_changes_and_nobody_goes_not_even_for_a_pin(self, pin: int | None, mode: Mode) -> None:
        policy = replace(AUTO, pinned_replicas=pin, mode=mode)
        held = planned(1, drained("a"), marked(working("b")), working("c"), demand=UNREADABLE, policy=policy)
        assert (held.replicas, held.drain, held.undrain, held.release) == (None, (), (), ())

    def test_in_doubt_more_replicas_are_still_set(self) -> None:
        assert planned(5, drained("a"), working("b"), demand=UNREADABLE).replicas == 5

    @pytest.mark.parametrize("mode", [Mode.PAUSED, Mode.DRY_RUN])
    @pytest.mark.parametrize("wanted", [0, 3, 9])
    def test_a_pool_that_is_not_scaled_works_with_all_its_pods(self, mode: Mode, wanted: int) -> None:
        policy = replace(AUTO, mode=mode)
        left = planned(wanted, drained("a"), marked(working("b")), working("c"), policy=policy)
        assert (left.replicas, left.drain, set(left.undrain)) == (None, (), {"a", "b"})


class TestPinned:
    def test_a_pin_drains_as_well(self) -> None:
        policy = replace(AUTO, pinned_replicas=1)
        held = planned(1, working("a", 0), working("b", 4), policy=policy)
        assert (held.replicas, held.drain) == (None, ("a",))
        assert planned(1, drained("a"), working("b", 4), policy=policy).replicas == 1

    def test_a_pin_goes_through_where_workers_cannot_drain(self) -> None:
        pods = [replace(working(name, 4), drainable=False) for name in "abc"]
        assert planned(1, *pods, policy=replace(AUTO, pinned_replicas=1)).replicas == 1


class TestUndrainable:
    PODS = tuple(replace(working(name, 0), drainable=False) for name in "abc")

    def test_without_its_agent_a_worker_goes_only_once_the_whole_pool_is_idle(self) -> None:
        held = planned(1, *self.PODS)
        assert (held.replicas, held.reason, held.drain) == (None, Reason.TASKS_IN_FLIGHT, ())
        assert "ml-a (0 running), ml-b (0 running) cannot drain: 5 waiting + 9 running + 0 scheduled" in held.message
        assert planned(1, *self.PODS, demand=IDLE).replicas == 1

    def test_what_is_held_elsewhere_may_be_theirs(self) -> None:
        foreign = replace(IDLE, held_elsewhere=1)
        held = planned(1, *self.PODS, demand=foreign)
        assert held.replicas is None
        assert held.message.endswith("+ 1 held elsewhere")

    def test_whoever_can_drain_goes_first(self) -> None:
        held = planned(3, *self.PODS, working("able", 4))
        assert held.drain == ("able",)


def undrainable(name: str, running: int = 0) -> Pod:
    return replace(working(name, running), drainable=False, quiet=not running)


class TestAtRest:
    """Workers that report and cannot drain: a level of the agent below drain, or a hook that is missing."""

    def test_a_busy_pool_shrinks_by_those_that_hold_nothing(self) -> None:
        pods = [undrainable("a"), undrainable("b"), undrainable("c", running=2)]
        marking = planned(1, *pods)
        assert (marking.replicas, marking.drain) == (None, ("a", "b"))
        pods = [*map(marked, pods[:2]), pods[2]]
        assert planned(1, *pods).replicas == 1

    def test_one_that_has_taken_a_task_since_stays_until_it_is_at_rest_again(self) -> None:
        busy = replace(marked(undrainable("a")), quiet=False, running=1)
        held = planned(1, busy, undrainable("b", running=3))
        assert (held.replicas, held.reason, held.drain, held.undrain) == (None, Reason.TASKS_IN_FLIGHT, (), ())
        assert held.message.endswith("until ml-a (1 running) at rest for a moment, as they cannot drain")

    def test_none_is_removed_before_kubernetes_knows_whom_to_stop(self) -> None:
        fresh = replace(marked(undrainable("a")), recent_costs=frozenset({0}))
        held = planned(1, fresh, undrainable("b", running=3))
        assert (held.replicas, held.drain) == (None, ())

    def test_demand_that_returns_takes_the_mark_away(self) -> None:
        back = planned(2, marked(undrainable("a")), undrainable("b", running=3))
        assert back.undrain == ("a",)

    def test_one_that_runs_a_long_task_gives_way_to_one_that_does_not(self) -> None:
        busy = replace(marked(undrainable("a")), quiet=False, running=1, restless=True)
        held = planned(1, busy, undrainable("b"))
        assert (held.replicas, held.drain, held.undrain) == (None, ("b",), ("a",))
        both = planned(1, busy, replace(undrainable("b", running=1), restless=True))
        assert (both.drain, both.undrain) == ((), ()), "none is better than the other"

    def test_whoever_can_drain_goes_first(self) -> None:
        held = planned(1, undrainable("a"), working("able", 4))
        assert held.drain == ("able",)

    def test_a_silent_one_is_not_marked_and_waits_for_the_whole_pool(self) -> None:
        silent = replace(undrainable("a"), quiet=None)
        held = planned(0, silent, replicas=1)
        assert (held.replicas, held.reason, held.drain) == (None, Reason.TASKS_IN_FLIGHT, ())


def replica_set_removes(pods: list[Pod], number: int, chance: random.Random) -> list[Pod]:
    """The controller's choice, written down from its documentation, ties broken at random."""
    phases = ["Pending", "Unknown", "Running"]
    shuffled = chance.sample(pods, len(pods))
    shuffled.sort(key=lambda pod: pod.cost)
    shuffled.sort(key=lambda pod: pod.ready)
    shuffled.sort(key=lambda pod: phases.index(pod.phase))
    shuffled.sort(key=lambda pod: pod.assigned)
    return shuffled[:number]


def as_kubernetes_may_know_it(pod: Pod, chance: random.Random) -> Pod:
    return replace(pod, cost=chance.choice(sorted({pod.cost, *pod.recent_costs})))


pods_of_any_kind = st.builds(
    Pod,
    uid=st.uuids().map(str),
    name=st.just("ml"),
    assigned=st.booleans(),
    phase=st.sampled_from(["Pending", "Unknown", "Running"]),
    ready=st.booleans(),
    cost=st.sampled_from([0, 0, MARKED_COST, RELEASED_COST, -5000, 100]),
    marked=st.booleans(),
    drained=st.booleans(),
    started=st.booleans(),
    running=st.integers(0, 4),
    drainable=st.sampled_from([True, True, True, False]),
    quiet=st.sampled_from([None, False, True]),
    recent_costs=st.frozensets(st.sampled_from([0, MARKED_COST, RELEASED_COST]), max_size=2),
)
well_behaved_pods = st.one_of(
    st.builds(lambda uid, running: working(str(uid), running), st.uuids(), st.integers(0, 4)),
    st.builds(lambda uid: marked(working(str(uid))), st.uuids()),
    st.builds(lambda uid, cost: drained(str(uid), cost), st.uuids(), st.sampled_from([MARKED_COST, RELEASED_COST])),
    st.builds(
        lambda uid, is_marked: marked(newborn(str(uid))) if is_marked else newborn(str(uid)), st.uuids(), st.booleans()
    ),
)
demands = st.sampled_from([BUSY, IDLE, replace(IDLE, held_elsewhere=1), replace(IDLE, exact=False), UNREADABLE])
modes = st.sampled_from([Mode.AUTO, Mode.AUTO, Mode.AUTO, Mode.PAUSED, Mode.DRY_RUN])


@settings(deadline=None, max_examples=500, derandomize=True)
@given(
    st.lists(pods_of_any_kind, max_size=7) | st.lists(well_behaved_pods, max_size=7),
    st.integers(-2, 2),
    st.integers(0, 9),
    demands,
    st.sampled_from([None, None, 0]),
    modes,
    st.booleans(),
    st.integers(0, 2**32),
)
def test_whatever_kubernetes_chooses_only_safe_workers_are_stopped(
    pods: list[Pod],
    difference: int,
    wanted: int,
    demand: Demand | Doubt,
    pin: int | None,
    mode: Mode,
    rollout: bool,
    seed: int,
) -> None:
    replicas = max(0, len(pods) + difference)
    policy = replace(AUTO, mode=mode, pinned_replicas=None if pin is None else wanted)
    done = planned(wanted, *pods, replicas=replicas, demand=demand, policy=policy, rollout=rollout)
    by_uid = {pod.uid: pod for pod in pods}
    assert done.message
    assert all(by_uid[uid].marked for uid in (*done.undrain, *done.release))
    assert all(by_uid[uid].drainable or by_uid[uid].quiet is not None for uid in done.drain)
    assert not any(by_uid[uid].marked and by_uid[uid].cost <= MARKED_COST for uid in done.drain)
    assert not set(done.undrain) & set(done.release)
    if isinstance(demand, Doubt):
        assert (done.drain, done.undrain, done.release) == ((), (), ())
    if done.replicas is None or done.replicas >= replicas:
        return
    assert wanted <= done.replicas
    assert mode is Mode.AUTO
    assert not rollout
    assert (done.drain, done.undrain, done.release) == ((), (), ()), "no mark changes while the controller chooses"
    idle = isinstance(demand, Demand) and demand.idle
    chance = random.Random(seed)
    known = [as_kubernetes_may_know_it(pod, chance) for pod in pods]
    for pod in replica_set_removes(known, max(0, len(pods) - done.replicas), chance):
        at_rest = not pod.drainable and pod.quiet is True
        safe = pod.marked and (pod.drained or not pod.started or at_rest)
        assert safe or (not pod.drainable and (idle or pin is not None))


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.lists(well_behaved_pods, min_size=1, max_size=7), st.integers(0, 7))
def test_a_scale_down_always_comes_to_its_end_and_ends_no_task(pods: list[Pod], wanted: int) -> None:
    """Tick after tick is performed: marks appear, one busy worker after the other drains, Kubernetes chooses."""
    chance = random.Random(len(pods) * 10 + wanted)
    replicas, marks_changed = len(pods), 0
    wanted = min(wanted, replicas)
    for _ in range(40):
        done = planned(wanted, *pods, replicas=replicas)
        marks_changed += len(done.drain) + len(done.undrain)
        now = []
        for pod in pods:
            if pod.uid in done.drain:
                pod = marked(pod)
            elif pod.uid in done.undrain:
                pod = replace(pod, marked=False, drained=False, cost=0)
            elif pod.uid in done.release:
                pod = replace(pod, cost=RELEASED_COST)
            now.append(pod)
        pods = now
        if done.replicas is not None and done.replicas < replicas:
            stopped = replica_set_removes(pods, replicas - done.replicas, chance)
            assert all(pod.drained or not pod.started for pod in stopped)
            pods = [pod for pod in pods if pod not in stopped]
            replicas = done.replicas
        ending = [pod for pod in pods if pod.marked and pod.started and not pod.drained]
        if ending:
            ended = chance.choice(ending)
            pods = [replace(pod, drained=True, running=0) if pod is ended else pod for pod in pods]
    assert replicas == len(pods) == wanted
    assert not any(pod.marked for pod in pods)
    assert marks_changed <= 14, "each pod changes its mark twice at most: no swapping of victims"
