"""An operator of today with workers that run the agent of the release before, of today, or one after the other."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.agents import Process, Restored
from celeriac.brokers.readings import PoolReading, QueueSet
from celeriac.brokers.redis.broker import RedisBroker
from celeriac.brokers.redis.url import parse
from celeriac.pool.model import QueueLayout
from celeriac.workers.observer import Observer
from celeriac.workers.worker import Workers
from tests.agent.environments import NEWEST, OLDEST
from tests.agent.rig import DRAIN_SECONDS, PREFIX, Rig
from tests.agent.shapes import full, param
from tests.agent.worker import Spec, Worker
from tests.dialers import dialer
from tests.integration.brokers import all_processes, readings
from tests.unit.builders.workers import pod

pytestmark = pytest.mark.agent

BEFORE = "0.1.0"
SPECS = [
    param(Spec(version, pool, True, prefetch=4), quick=(version, pool) == (NEWEST, "prefork"))
    for pool in ("solo", "prefork", "threads", "gevent")
    for version in (OLDEST, NEWEST)
]
TURNS = {"upgrade": "prefork", "downgrade": "threads"}
ORDERS = [
    pytest.param(order, *one.values, id=f"{one.id}-{order}", marks=one.marks if turn == one.values[0].pool else full)
    for one in SPECS
    for order, turn in TURNS.items()
]
LAYOUT = QueueLayout(PREFIX)


class Operator:
    """What the operator does with the broker and the agents, without its loops."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.observer = Observer()
        self.tokens: dict[str, str] = {}

    def workers(self) -> Workers:
        """The rig's pods as they are seen now."""

        async def read(broker: RedisBroker) -> PoolReading:
            pods = tuple(each.uid for each in self.rig.workers)
            [reading] = readings(await broker.queues.read([QueueSet(("celery",), LAYOUT, self.rig.pool_uid, pods)]))
            return reading

        reading = self._ask(read)
        pods = [
            pod(each.uid, name=each.pod, running=True, ready=True, drain_token=self.tokens.get(each.uid))
            for each in self.rig.workers
        ]
        return self.observer.observe(pods, reading.reports, reading.marks, slots=2, now=time.monotonic())

    def mark(self, *workers: Worker) -> None:
        """Tell them to drain, each with a token of its own."""
        self.tokens = {worker.uid: f"token-of-{worker.pod}" for worker in workers}
        self._ask(lambda broker: broker.agents.mark(LAYOUT, self.rig.pool_uid, dict(self.tokens)))

    def unmark(self) -> None:
        """Let all of them work again."""
        marks = dict.fromkeys(self.tokens)
        self.tokens = {}
        self._ask(lambda broker: broker.agents.mark(LAYOUT, self.rig.pool_uid, marks))

    def processes(self) -> dict[str, Process]:
        """The registered processes by their pods."""
        return {each.pod: each for each in self._ask(lambda broker: all_processes(broker, LAYOUT.registry))}

    def restore(self, process: Process) -> Restored:
        """Put back what a process held that died."""
        restored: Restored = self._ask(lambda broker: broker.salvage.restore(process, died=True))
        return restored

    def _ask(self, question: Callable[[RedisBroker], Awaitable[Any]]) -> Any:
        async def asked() -> Any:
            broker = RedisBroker(parse(BrokerAddress(self.rig.place.broker)), dialer())
            try:
                return await question(broker)
            finally:
                await broker.close()

        return asyncio.run(asked())


def of_before(spec: Spec) -> Spec:
    return replace(spec, release=BEFORE)


@pytest.mark.parametrize("spec", SPECS)
def test_an_old_and_a_new_agent_in_one_pool_are_read_drained_and_put_to_work_again(rig: Rig, spec: Spec) -> None:
    old, new = rig.start(of_before(spec), spec)
    operator = Operator(rig)
    capable = {"inflight", "drain", "exact"}
    for worker in rig.wait_for(lambda: _all_report(operator), "both report").all:
        assert worker.report.capabilities == capable
        assert (worker.report.slots, worker.report.queues) == (spec.slots_in_truth, ("celery",))
        assert worker.drainable
    assert set(operator.processes()) == {old.pod, new.pod}

    rig.send("a", "b", "c", args=[2])
    rig.send("later-0", "later-1", countdown=5)
    rig.wait_for(lambda: rig.ledger.running(), "some run")
    operator.mark(old, new)
    rig.wait_for(lambda: all(worker.drained for worker in operator.workers().all), "both have drained", DRAIN_SECONDS)
    seen = rig.ledger.started()
    rig.send("held-back")
    for worker in (old, new):
        assert worker.fresh()["state"] == "drained"
    assert rig.ledger.started() == seen

    operator.unmark()
    rig.settle()
    assert rig.account().problems == {}


@full
@pytest.mark.parametrize("spec", [each for each in SPECS if each.values[0].pool in ("prefork", "threads")])
def test_what_both_held_when_they_were_killed_is_put_back(rig: Rig, spec: Spec) -> None:
    """Of the pools whose workers go on taking messages while all their slots run."""
    queues = ("celery", "of-old", "of-new")  # one that both consume from, and one each: so that no slot stays free
    old, new = rig.start(replace(of_before(spec), queues="celery,of-old"), replace(spec, queues="celery,of-new"))
    rig.send(*"abc", args=[3600], queue="of-old")
    rig.send(*"def", args=[3600], queue="of-new")
    rig.busy(2 * spec.slots_in_truth)
    rig.send("later-0", "later-1", "later-2", "later-3", countdown=3600)
    rig.wait_for(lambda: not any(map(rig.queue, queues)), "all are held")
    running = rig.ledger.running()
    for worker in (old, new):
        worker.wait_for(lambda report: report["active"] == spec.slots_in_truth, "it says so")
        worker.kill()
    operator = Operator(rig)
    processes = operator.processes()
    assert set(processes) == {old.pod, new.pod}
    restored = [operator.restore(process) for process in processes.values()]
    assert sum(some.restored for some in restored) == 10
    deaths = {message["headers"]["id"]: _deaths(message) for queue in queues for message in rig.messages(queue)}
    assert deaths == {**dict.fromkeys("abcdef", 0), **{f"later-{n}": 0 for n in range(4)}, **dict.fromkeys(running, 1)}
    assert rig.processes() == {}


@pytest.mark.parametrize(("order", "spec"), ORDERS)
def test_a_start_inherits_from_the_other_agent_in_its_pod(rig: Rig, spec: Spec, order: str) -> None:
    first, second = (of_before(spec), spec) if order == "upgrade" else (spec, of_before(spec))
    [worker] = rig.start(first)
    rig.send(*"abcd", args=[3])
    rig.busy(spec.slots_in_truth)
    rig.send("later", args=[3], countdown=1)  # solo holds one at a time: this one, in the end
    rig.wait_for(lambda: not rig.queue(), "it holds all")
    rig.busy(spec.slots_in_truth)  # still or again
    worker.wait_for(lambda report: report["active"] == spec.slots_in_truth, "it says so")
    before, running = set(rig.processes()), rig.ledger.running()
    worker.restart(second)
    worker.ready()
    rig.settle()
    assert set(rig.processes()).isdisjoint(before)
    assert len(rig.processes()) == 1
    twice = tuple(f"{task}/0" for task in running)
    assert rig.account().problems == {"killed": twice, "twice": twice}


def _all_report(operator: Operator) -> Workers | None:
    workers = operator.workers()
    return workers if all(each.report and each.report.state == "consuming" for each in workers.all) else None


def _deaths(message: dict[str, Any]) -> int:
    return int(message["properties"]["delivery_info"].get("celeriac_deaths", 0))
