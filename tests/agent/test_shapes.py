"""Every shape of work through the same ledger, with a pod drained in the middle."""

import time

import pytest
from celery import chord
from kombu.entity import Exchange

from tests.agent.rig import WORK, Rig
from tests.agent.shapes import once, param
from tests.agent.worker import Spec

pytestmark = pytest.mark.agent

EXCHANGES = {"LEDGER_APP_EXCHANGES": "1"}
REPORTS, EVERYONE = Exchange("reports", "topic"), Exchange("everyone", "fanout")  # type: ignore[no-untyped-call]
ALL_QUEUES = "celery,everything,invoices,everyone"


@pytest.mark.parametrize("spec", once(quick=["threads"], variables=EXCHANGES, queues=ALL_QUEUES, prefetch=4, slots=1))
def test_a_topic_message_goes_back_to_each_of_its_queues_and_a_broadcast_to_none(rig: Rig, spec: Spec) -> None:
    if spec.pool == "solo":  # It holds nothing but what it runs.
        spec = Spec(**{**spec.__dict__, "acks_late": True})
    [worker] = rig.start(spec)
    rig.send("running", args=[3])
    rig.running("running")
    rig.send("invoice", exchange=REPORTS, declare=[REPORTS], routing_key="invoice.paid", runs=2)
    rig.send("order", exchange=REPORTS, declare=[REPORTS], routing_key="order.paid")
    rig.send("all-of-you", exchange=EVERYONE, declare=[EVERYONE], routing_key="celery", runs=0)
    rig.drain(worker)
    assert (rig.queue("everything"), rig.queue("invoices"), rig.queue("everyone")) == (
        ["invoice", "order"],
        ["invoice"],
        [],
    )
    rig.undrain(worker)
    rig.settle()
    assert rig.account().problems == {}


@pytest.mark.full
@pytest.mark.parametrize("spec", once(variables=EXCHANGES, queues=ALL_QUEUES))
def test_a_broadcast_reaches_every_worker_once_and_is_reported_by_the_name_of_its_pool(rig: Rig, spec: Spec) -> None:
    workers = rig.start(spec, spec)
    for worker in workers:
        assert sorted(worker.fresh()["queues"]) == sorted(ALL_QUEUES.split(","))
    rig.wait_for(lambda: _subscriptions(rig) >= 4, "both hear broadcasts and remote control")
    rig.send("all-of-you", exchange=EVERYONE, declare=[EVERYONE], routing_key="celery", runs=2)
    rig.settle()
    assert rig.account().problems == {}


@pytest.mark.parametrize("spec", once(quick=["prefork"], prefetch=4))
def test_a_chord_and_retries_and_revoked_tasks_while_a_pod_drains(rig_with_results: Rig, spec: Spec) -> None:
    rig = rig_with_results
    first, second = rig.start(spec, spec)
    rig.wait_for(lambda: _subscriptions(rig) >= 2, "both hear remote control")
    replies = rig.sender.control.revoke("revoked", reply=True, timeout=3)
    assert len(replies) == 2
    parts = [f"part-{number:02}" for number in range(20)]
    for task in (*parts, "gathered"):
        rig.ledger.sent[task] += 1
    with rig.sender.connection_for_write():
        header = [rig.sender.signature(WORK, args=[0.3]).set(task_id=task) for task in parts]
        chord(header, app=rig.sender)(rig.sender.signature("ledger_app.gather").set(task_id="gathered"))
    rig.send("again", name="ledger_app.again", args=[2, 1])
    rig.send("revoked", runs=0)
    rig.wait_for(lambda: len(rig.ledger.ended()) >= 4, "some are done")
    rig.scale_down(first)
    rig.settle()
    assert [line.attempt for line in rig.ledger.lines() if (line.task, line.event) == ("again", "started")] == [0, 1, 2]
    assert second.fresh()["active"] == 0
    assert rig.account().problems == {}


@pytest.mark.full
@pytest.mark.parametrize("spec", once(pools=["prefork"], slots=1, prefetch=4))
def test_a_hard_time_limit_frees_the_slot_and_counts_as_an_end(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    rig.send("too-long", name="ledger_app.too_long")
    rig.send("next")
    rig.settle()
    report = worker.wait_for(lambda report: report["active"] == 0, "nothing runs")
    assert 0.9 < report["busy"] < 3
    assert rig.drain(worker)["unacked"] == 0
    assert rig.account().problems == {}


@pytest.mark.parametrize(
    "spec", [param(Spec("5.7", pool, True), quick=pool == "prefork") for pool in ("prefork", "threads")]
)
def test_an_eta_task_moves_to_another_worker_and_runs_in_time(rig: Rig, spec: Spec) -> None:
    first, second = rig.start(spec, spec)
    rig.send(*(f"eta-{number}" for number in range(6)), countdown=10)
    due = time.monotonic() + 10
    first.wait_for(lambda report: report["scheduled"] > 0, "it holds some")
    rig.scale_down(first)
    rig.settle()
    starts = [line for line in rig.ledger.lines() if line.event == "started"]
    assert {line.pod for line in starts} == {second.pod}
    assert all(due - 0.5 < line.at for line in starts)
    assert rig.account().problems == {}


def _subscriptions(rig: Rig) -> int:
    """Of all workers: Redis keeps nothing for who comes late."""
    return sum(int(client["psub"]) for client in rig.client.client_list())
