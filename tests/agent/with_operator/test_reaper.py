"""What workers held that died goes back: within seconds of the proof, never before it, and deaths are counted right.

Pods, nodes and messages are real; what a kubelet would say of them is written by hand, and the processes are those of
workers whose end nobody in Redis could see.
"""

import time
from collections.abc import Iterator

import pytest

from celeriac.api.keys import PoolKey
from celeriac.api.names import BROKERS_ANNOTATION
from celeriac.recovery.acquaintances import digest_of
from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import wait_until
from tests.integration.crds import install_crds
from tests.integration.kube import LEASES as LEASE_KIND
from tests.integration.kube import Kube
from tests.integration.kubelet import FakeNode, terminated
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.shop import SECONDS, Shop, Worker

pytestmark = pytest.mark.agent

LEASES = "reaper"
"""Namespace of the Lease of the operator that serves all stories of this module."""
SILENT_SECONDS = 30.0
"""What docs/guarantees.md promises: nothing is restored before that without the word of a kubelet."""


@pytest.fixture(scope="module")
def operator(control_plane: ControlPlane) -> Iterator[OperatorProcess]:
    install_crds(control_plane)
    control_plane.kubectl("create", "namespace", LEASES)
    with OperatorProcess(control_plane.kubeconfig, LEASES, clusterwide=True) as running:
        running.wait_for_log("this replica leads", seconds=SECONDS)
        yield running
    control_plane.kubectl("delete", "namespace", LEASES, "--wait=false")


@pytest.fixture(scope="module")
def one_redis() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture
def shop(
    control_plane: ControlPlane, operator: OperatorProcess, one_redis: RedisServer, namespace: str
) -> Iterator[Shop]:
    """Open for work. Its Redis is emptied before; a pool of an earlier story may still look at it."""
    with one_redis.client() as client:
        client.flushall()
    shop = Shop(control_plane, namespace, one_redis)
    with shop.node:
        shop.open(one_redis.celery_url)
        yield shop


def runs_a_and_holds_b(shop: Shop, worker: Worker) -> None:
    """Of two messages it has started the first."""
    shop.send("a", "b")
    worker.takes(1, started=True)
    worker.takes(1)
    assert (worker.held, shop.ids()) == (["a", "b"], [])


def test_what_a_worker_out_of_memory_held_is_back_in_order_with_its_priority_and_said_so(shop: Shop) -> None:
    killed = shop.worker("ml-1")
    runs_a_and_holds_b(shop, killed)
    shop.send("urgent", priority=6)
    killed.takes(1)
    shop.send("c")
    killed.pod.ends(shop.now, "OOMKilled")
    shop.wait_until_back("a", "b", "c")
    shop.wait_until_back("urgent", key="mail\x06\x166")
    assert shop.deaths() == {"a": 1, "b": 0, "c": 0}
    assert [message["headers"].get("redelivered", False) for message in shop.messages()] == [True, True, False]
    event = shop.kube.wait_for_event("ml", "Restored")
    assert event["note"] == "3 messages of worker ml-1 are back in their queues: its container ended (OOMKilled)"
    wait_until(lambda: not killed.registered, "nothing of it is left", seconds=SECONDS)


def test_nothing_is_taken_from_a_worker_that_runs_however_long_it_says_nothing_new(shop: Shop) -> None:
    """Its container runs, says the API server; that its reports stand still proves nothing."""
    silent = shop.worker("ml-1", age=7200.0)
    runs_a_and_holds_b(shop, silent)
    shop.wait_until_all_was_judged()
    assert (silent.held, shop.ids()) == (["a", "b"], [])


@pytest.mark.full
def test_a_container_that_started_anew_in_its_pod_is_not_taken_for_the_one_that_died(shop: Shop) -> None:
    dead = shop.worker("ml-1")
    runs_a_and_holds_b(shop, dead)
    died = shop.now - 10.0
    heir = shop.worker("ml-1", pod=dead.pod, age=5.0, start="99887766")
    shop.send("c")
    heir.takes(1, started=True)
    dead.pod.runs(restarts=1, last_state=terminated(died, "OOMKilled"), since=died)
    shop.wait_until_back("a", "b")
    shop.wait_until_all_was_judged()
    assert (dead.registered, heir.registered, heir.held, shop.deaths()) == (False, True, ["c"], {"a": 1, "b": 0})


@pytest.mark.full
def test_the_same_on_a_node_whose_clock_was_set_back_by_an_hour_however_silent_the_heir_is(shop: Shop) -> None:
    """By the clock it had started before its predecessor ended; a task of its own holds the interpreter."""
    heir = shop.worker("ml-1", age=300.0)
    runs_a_and_holds_b(shop, heir)
    heir.pod.runs(restarts=1, last_state=terminated(shop.now + 3600, "Error"), since=shop.now - 310)
    shop.wait_until_all_was_judged()
    shop.wait_until_all_was_judged()
    assert (heir.held, shop.ids()) == (["a", "b"], [])
    heir.pod.delete()
    heir.pod.ends(shop.now, "Error")
    shop.wait_until_back("a", "b")


@pytest.mark.full
def test_who_reported_after_an_end_was_seen_is_no_part_of_it_whatever_the_clocks_say(shop: Shop) -> None:
    """A kubelet that nobody reached told late of the container that runs now."""
    heir = shop.worker("ml-1", age=300.0)
    runs_a_and_holds_b(shop, heir)
    heir.pod.ends(shop.now + 3600)
    for _ in range(3):
        shop.wait_until_all_was_judged(meanwhile=heir.report)
    shop.wait_until_all_was_judged()
    assert (heir.held, shop.ids()) == (["a", "b"], [])


@pytest.mark.full
def test_a_registration_that_somebody_removed_strands_nothing_that_the_operator_has_seen(shop: Shop) -> None:
    """The agent of a worker that lives writes it again within a second; this one is dead by then."""
    worker = shop.worker("ml-1")
    runs_a_and_holds_b(shop, worker)
    shop.wait_until_all_was_judged()
    worker.unregister()
    event = shop.kube.wait_for_event("ml", "RegistrationUnreadable")
    assert "workers that may hold messages are not registered" in event["note"]
    assert (worker.held, shop.ids()) == (["a", "b"], [])
    worker.pod.ends(shop.now)
    shop.wait_until_back("a", "b")


@pytest.mark.full
def test_a_deletion_counts_against_no_task_unless_memory_ran_out(shop: Shop) -> None:
    deleted, out_of_memory = shop.worker("ml-1"), shop.worker("ml-2")
    shop.send("a", "b")
    deleted.takes(1, started=True)
    out_of_memory.takes(1, started=True)
    for worker in (deleted, out_of_memory):
        worker.pod.delete()
    shop.wait_until_all_was_judged()
    assert (deleted.held, out_of_memory.held) == (["a"], ["b"])
    deleted.pod.ends(shop.now, "Error")
    shop.wait_until_back("a")
    out_of_memory.pod.ends(shop.now, "OOMKilled")
    wait_until(lambda: shop.deaths() == {"a": 0, "b": 1}, "both are back, one of them a suspect", seconds=SECONDS)


def test_an_eviction_counts_against_no_task(shop: Shop) -> None:
    evicted = shop.worker("ml-1")
    runs_a_and_holds_b(shop, evicted)
    evicted.pod.ends(shop.now, "Error", evicted=True)
    shop.wait_until_back("a", "b")
    assert shop.deaths() == {"a": 0, "b": 0}


def test_a_pod_that_ends_and_vanishes_in_one_breath_has_ended(shop: Shop) -> None:
    gone = shop.worker("ml-1")
    runs_a_and_holds_b(shop, gone)
    shop.wait_until_all_was_judged()
    before = time.monotonic()
    gone.pod.has_ended(shop.now)
    gone.pod.is_removed()
    shop.wait_until_back("a", "b")
    assert time.monotonic() - before < SILENT_SECONDS, "nobody waited for silence"
    assert shop.deaths() == {"a": 0, "b": 0}


def test_a_task_that_kills_its_workers_is_a_dead_letter_in_the_end(shop: Shop) -> None:
    first, second = (shop.worker(name, max_attempts=2) for name in ("ml-1", "ml-2"))
    shop.send("poison", "innocent")
    first.takes(1, started=True)
    first.pod.ends(shop.now, "OOMKilled")
    wait_until(lambda: shop.deaths() == {"poison": 1, "innocent": 0}, "it is back once", seconds=SECONDS)
    second.takes(1, started=True)
    second.takes(1)
    second.pod.ends(shop.now, "OOMKilled")
    shop.wait_until_back("poison", key="celeriac:dead:mail")
    shop.wait_until_back("innocent")
    (letter,) = shop.messages("celeriac:dead:mail")
    assert "2 processes that died" in letter["properties"]["delivery_info"]["celeriac_dead"]
    event = shop.kube.wait_for_event("ml", "DeadLettered")
    assert event["type"] == "Warning"
    assert event["note"].startswith("1 new dead letter(s) of queue mail (task): each was running in")
    assert "`kubectl celery dead-letters list ml`" in event["note"]


def test_who_vanished_without_a_word_is_gone_after_half_a_minute_and_who_reports_is_not(
    shop: Shop, operator: OperatorProcess
) -> None:
    """Pods that were deleted by force, a node that was deleted, one that is out of service, one that nobody knows.

    Beside it is a pool of another broker, which is looked at as often.
    """
    with RedisServer() as another, FakeNode(shop.kube, "lost") as lost, FakeNode(shop.kube, "off") as off:
        shop.kube.create_pool("other", another.celery_url)
        forced, reporting = shop.worker("forced"), shop.worker("reporting")
        on_lost, on_off, on_silent = shop.worker("lost", node=lost), shop.worker("off", node=off), shop.worker("silent")
        workers = (forced, reporting, on_lost, on_off, on_silent)
        for number, worker in enumerate(workers):
            shop.send(str(number))
            worker.takes(1, started=True)
        forced.pod.is_removed()
        reporting.pod.is_removed()
        lost.delete()
        off.is_out_of_service()
        for worker in workers:
            worker.report()
        silent_since = time.monotonic()

        def back() -> list[str]:
            reporting.report()
            return sorted(shop.ids())

        wait_until(lambda: back() != [], "somebody is found gone", seconds=SILENT_SECONDS + SECONDS)
        assert time.monotonic() - silent_since > SILENT_SECONDS
        wait_until(lambda: back() == ["0", "2", "3"], "all three are", seconds=SECONDS)
        assert set(shop.deaths().values()) == {0}, "a lost node says nothing of a task"
        assert (reporting.held, on_silent.held) == (["1"], ["4"])
        assert "fault of the operator" not in operator.log()


@pytest.mark.full
def test_two_operators_at_once_bring_each_message_back_once(
    shop: Shop, control_plane: ControlPlane, namespace: str
) -> None:
    """Another one with a Lease of its own, as by a mistake in an installation."""
    ids = [str(number) for number in range(300)]
    killed = shop.worker("ml-1")
    shop.send(*ids)
    killed.takes(len(ids), started=True)
    with OperatorProcess(control_plane.kubeconfig, namespace, "--lease-name", "another") as other:
        other.wait_for_log("this replica leads", seconds=SECONDS)
        killed.pod.ends(shop.now)
        wait_until(lambda: not killed.registered, "all is back", seconds=SECONDS)
        shop.wait_until_all_was_judged()
    assert shop.ids() == ids
    assert set(shop.deaths().values()) == {1}


@pytest.mark.full
def test_a_killed_workers_messages_outlive_their_pool_and_its_keys_do_not(
    shop: Shop, control_plane: ControlPlane
) -> None:
    worker = shop.worker("ml-1")
    runs_a_and_holds_b(shop, worker)
    seen = digest_of(PoolKey(shop.kube.namespace, "ml"), shop.broker)
    leases = Kube(control_plane.kubeconfig, LEASES)
    leases.wait_for(
        LEASE_KIND,
        "celeriac",
        lambda lease: seen in lease["metadata"].get("annotations", {}).get(BROKERS_ANNOTATION, ""),
    )
    shop.delete_pool()
    worker.pod.delete()
    worker.pod.ends(shop.now, "Error")
    shop.wait_until_back("a", "b")
    worker.pod.is_removed()
    wait_until(lambda: shop.keys() == [], "no key of the agent is left", seconds=SECONDS)
