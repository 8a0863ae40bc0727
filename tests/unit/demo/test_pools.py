"""The demo's pools are the samples with faster numbers, and what was seen of them keeps the peaks."""

import math

import pytest
from celery_app import send, visit

from tests.demo.live import Snapshot, decisions, line, table
from tests.demo.pools import LOADS, POOLS, VISIT, DemoPool, merged, samples
from tests.demo.state import PoolState

pytestmark = pytest.mark.unit


def test_a_patch_changes_leaves_only_and_leaves_its_base_alone() -> None:
    base = {"scaling": {"maxReplicas": 5, "minReplicas": 1}, "image": "a"}
    assert merged(base, {"scaling": {"minReplicas": 0}}) == {
        "scaling": {"maxReplicas": 5, "minReplicas": 0},
        "image": "a",
    }
    assert base["scaling"] == {"maxReplicas": 5, "minReplicas": 1}


@pytest.mark.parametrize("pool", POOLS, ids=lambda pool: pool.name)
def test_every_demo_pool_is_its_sample_and_may_go_to_zero_within_seconds(pool: DemoPool) -> None:
    spec, sample = pool.manifest()["spec"], {each["metadata"]["name"]: each for each in samples()}[pool.name]["spec"]
    assert (spec["queues"], spec["pool"], spec["app"]) == ([pool.queue], sample["pool"], sample["app"])
    assert (spec["scaling"]["minReplicas"], spec["scaling"]["scaleToZeroAfterSeconds"]) == (0, 10)
    assert spec["scaling"]["target"] == {"tasksPerSlot": pool.tasks_per_slot}


@pytest.mark.parametrize("pool", [pool for pool in POOLS if pool.peak >= 4], ids=lambda pool: pool.name)
def test_the_load_asks_for_as_many_replicas_as_the_pool_must_reach(pool: DemoPool) -> None:
    orders = [send.main.make_context("send", load.arguments.split()).params for load in LOADS]
    visits = visit.main.make_context("visit", VISIT.arguments.split()).params["count"]
    tasks = sum(order["count"] for order in orders if pool.queue in order["queues"])
    tasks += visits if pool.queue == "ml_service" else 0
    assert math.ceil(tasks / (pool.tasks_per_slot * (pool.concurrency or 1))) >= pool.peak


def test_peaks_stay_when_the_pool_has_shrunk() -> None:
    state = PoolState("ml")
    for decided, ready in ((5, 0), (5, 4), (1, 5), (0, 0)):
        state = state.with_status({"status": {"desiredReplicas": decided, "decision": {"message": f"{decided} it is"}}})
        state = state.with_deployment({"spec": {"replicas": decided}, "status": {"readyReplicas": ready}})
    assert (state.peak_decided, state.peak_decision, state.peak_ready) == (5, "5 it is", 5)
    assert (state.decision, state.at_zero) == ("0 it is", True)


def test_a_pool_whose_last_pod_still_ends_is_not_at_zero() -> None:
    state = PoolState("ml", decided=0).with_deployment({"spec": {"replicas": 0}, "status": {"replicas": 1}})
    assert not state.at_zero


def test_nothing_seen_yet_is_not_zero() -> None:
    assert not PoolState("ml").with_status({}).at_zero


def test_table_and_line_tell_the_same_figures() -> None:
    pool = POOLS[0]
    state = PoolState(pool.name, decided=5, decision="5: 20 waiting", ready=3)
    seen = Snapshot([pool], {pool.queue: 20}, {}, {pool.name: state})
    cells = [next(iter(column.cells)) for column in table(seen, 3).columns]
    assert cells == ["ml", "ml_service", "20", "0", "0/0", "5", "3"]
    assert [next(iter(column.cells)) for column in decisions(seen).columns] == ["ml", "5: 20 waiting"]
    assert line(seen, 3) == "   3 s  ml: 20 queued, 0 running, 0/0 done, 3/5 ready"
