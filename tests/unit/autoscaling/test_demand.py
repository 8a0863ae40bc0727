"""What is read from a broker becomes demand."""

from dataclasses import replace

import pytest

from celeriac.api.reasons import Reason
from celeriac.autoscaling.demand import demand_of, demand_without_agent, workload_of
from celeriac.brokers.agents import WorkerReport
from celeriac.brokers.readings import PoolReading, QueueReading
from celeriac.cluster.records import DeploymentRecord
from celeriac.scaling.decide import decide, fresh_history
from celeriac.scaling.eta import is_near, must_be_held
from celeriac.scaling.learning import Learned
from celeriac.scaling.plan import plan
from celeriac.scaling.policy import Policy
from celeriac.scaling.workload import Demand, Doubt
from celeriac.workers.observer import Observer
from tests.unit.builders.workers import KEY, pod, report

pytestmark = pytest.mark.unit


def demand(queue: QueueReading, *, replicas: int, slots: int) -> Demand:
    return demand_without_agent(PoolReading({"celery": queue}), replicas, slots)


def test_what_workers_hold_within_their_slots_is_running() -> None:
    assert demand(QueueReading(waiting=3, held=7), replicas=2, slots=4).running == 7


def test_scheduled_tasks_of_one_worker_that_fall_due_together_call_for_no_further_pod() -> None:
    assert demand(QueueReading(waiting=0, held=5), replicas=1, slots=2).running == 2


def test_what_a_dead_worker_left_behind_wakes_one_pod_and_not_one_per_message() -> None:
    assert demand(QueueReading(waiting=0, held=40), replicas=0, slots=1).running == 1


def test_a_pool_is_not_idle_while_a_dead_workers_messages_are_not_back() -> None:
    workers = Observer().observe([], {}, {}, 4, 0.0)
    reading = PoolReading({"celery": QueueReading(waiting=0)})
    assert demand_of(reading, 1, workers, Learned()).idle
    assert not demand_of(reading, 1, workers, Learned(), unresolved=True).idle


def test_whatever_is_held_keeps_a_pool_from_being_idle() -> None:
    assert not demand(QueueReading(waiting=0, held=1), replicas=0, slots=4).idle


def reported(report: WorkerReport, queue: QueueReading, *, drains: bool = True) -> Demand:
    """The demand of a pool of one worker that says this."""
    workers = Observer().observe([pod("a")], {"a": report}, {}, 4, 0.0, drains=drains)
    return demand_of(PoolReading({"celery": queue}), 1, workers, Learned(), drains=drains)


def test_what_workers_without_keys_of_their_own_hold_is_not_held_elsewhere() -> None:
    shared = report("a", active=2, reserved=1, scheduled=1, level="report", capabilities=frozenset())
    assert reported(shared, QueueReading(waiting=0, held=3, scheduled=1), drains=False).held_elsewhere == 0
    assert reported(shared, QueueReading(waiting=0, held=5, scheduled=1), drains=False).held_elsewhere == 2
    assert reported(replace(shared, active=0, reserved=0, scheduled=0), QueueReading(waiting=0, held=1)).idle is False
    assert reported(report("a", active=2), QueueReading(waiting=0, held=1)).held_elsewhere == 1


def test_workers_that_cannot_drain_are_not_asked_for_what_they_hold_for_an_eta() -> None:
    poor = report("a", scheduled=1, capabilities=frozenset({"inflight"}))
    assert must_be_held(reported(poor, QueueReading(waiting=0)))
    assert must_be_held(reported(report("a", scheduled=1), QueueReading(waiting=0), drains=False)) is True
    assert not must_be_held(reported(report("a", scheduled=1), QueueReading(waiting=0)))


def test_a_pool_at_any_level_wakes_in_time_for_what_rests_in_its_queues() -> None:
    workers = Observer().observe([], {}, {}, 4, 0.0, drains=False)
    reading = PoolReading({"celery": QueueReading(waiting=0, deferred=1)}, next_eta_seconds=1.0)
    assert is_near(Policy(slots=4), demand_of(reading, 0, workers, Learned(), drains=False))


def deployment(replicas: int) -> DeploymentRecord:
    return DeploymentRecord(
        key=KEY,
        uid="d",
        generation=1,
        observed_generation=1,
        spec_replicas=4,
        replicas=replicas,
        ready=replicas,
        updated=replicas,
    )


def test_a_pin_waits_for_the_first_reading_of_workers_that_can_drain() -> None:
    """An operator that starts while Redis is away knows nothing of what they run."""
    policy = Policy(slots=4, pinned_replicas=1)
    doubt = Doubt(current_replicas=4, since=0.0, reason=Reason.BROKER_TIMEOUT, message="Redis did not answer")
    decision = decide(policy, doubt, fresh_history(4, 0.0), 0.0)
    held = plan(policy, decision, doubt, workload_of(deployment(4), None, agent=True))
    assert (decision.replicas, held.replicas, held.reason) == (1, None, Reason.HOLDING)


def test_nothing_is_removed_while_workers_with_the_agent_leave_a_pool_that_is_to_have_none() -> None:
    """What they run is under keys of their own: by the shared ones such a pool looks idle."""
    idle = Demand(waiting=0, running=0, current_replicas=4)
    policy = Policy(slots=4, pinned_replicas=1)
    decision = decide(policy, idle, fresh_history(4, 0.0), 0.0)
    left, gone = pod("a", broker="{}"), pod("b", broker="{}", terminating=True)
    held = plan(policy, decision, idle, workload_of(deployment(4), None, pods=[left, pod("c")]))
    assert (held.replicas, held.reason) == (None, Reason.ROLLOUT_IN_PROGRESS)
    evicted = pod("d", broker="{}", phase="Failed", evicted=True)
    assert plan(policy, decision, idle, workload_of(deployment(4), None, pods=[gone, evicted, pod("c")])).replicas == 1


@pytest.mark.parametrize(("counted", "unseen"), [(0, 0), (1, 0), (4, 2)])
def test_pods_that_only_the_deployment_knows_of_are_not_seen_yet(counted: int, unseen: int) -> None:
    pods = [pod("a"), pod("b"), pod("c", terminating=True)]
    workload = workload_of(deployment(counted), Observer().observe(pods, {}, {}, 4, 0.0))
    assert (len(workload.pods), workload.unseen) == (2, unseen)
