"""What is read from a broker becomes demand."""

import pytest

from celeriac.brokers.types import PoolReading, QueueReading
from celeriac.cluster.records import DeploymentRecord
from celeriac.demand import demand_without_agent, workload_of
from celeriac.scaling.types import Demand
from celeriac.workers import Observer
from tests.unit.core.workers import KEY, pod

pytestmark = pytest.mark.unit


def demand(queue: QueueReading, *, replicas: int, slots: int) -> Demand:
    return demand_without_agent(PoolReading({"celery": queue}), replicas, slots)


def test_what_workers_hold_within_their_slots_is_running() -> None:
    assert demand(QueueReading(waiting=3, held=7), replicas=2, slots=4).running == 7


def test_scheduled_tasks_of_one_worker_that_fall_due_together_call_for_no_further_pod() -> None:
    assert demand(QueueReading(waiting=0, held=5), replicas=1, slots=2).running == 2


def test_what_a_dead_worker_left_behind_wakes_one_pod_and_not_one_per_message() -> None:
    assert demand(QueueReading(waiting=0, held=40), replicas=0, slots=1).running == 1


def test_whatever_is_held_keeps_a_pool_from_being_idle() -> None:
    assert not demand(QueueReading(waiting=0, held=1), replicas=0, slots=4).idle


@pytest.mark.parametrize(("counted", "unseen"), [(0, 0), (1, 0), (4, 2)])
def test_pods_that_only_the_deployment_knows_of_are_not_seen_yet(counted: int, unseen: int) -> None:
    deployment = DeploymentRecord(
        key=KEY,
        uid="d",
        generation=1,
        observed_generation=1,
        spec_replicas=4,
        replicas=counted,
        ready=counted,
        updated=counted,
    )
    pods = [pod("a"), pod("b"), pod("c", terminating=True)]
    workload = workload_of(deployment, Observer().observe(pods, {}, {}, 4, 0.0))
    assert (len(workload.pods), workload.unseen) == (2, unseen)
