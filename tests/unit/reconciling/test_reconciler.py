"""Pools in line, their children and statuses on an API server in memory: none of them stands in another's way."""

import asyncio
import logging
from dataclasses import replace
from typing import Any, cast

import pytest

from celeriac.api.authority import Authority
from celeriac.api.keys import PoolKey
from celeriac.api.names import SECRET_ANNOTATION
from celeriac.autoscaling.actuator import Actuator
from celeriac.autoscaling.rollouts import RolloutReader
from celeriac.autoscaling.tick import Autoscaler
from celeriac.brokers.connect import connect
from celeriac.cluster.agent_config import AgentConfigs
from celeriac.cluster.client import Api
from celeriac.cluster.errors import Forbidden, Unavailable
from celeriac.cluster.paths import CELERY_WORKER_POOLS, CONFIG_MAPS, DEPLOYMENTS
from celeriac.connecting.connections import Connections
from celeriac.connecting.credentials import SECRET_SECONDS, Credentials
from celeriac.reconciling.applied import AppliedBook
from celeriac.reconciling.applier import Applier
from celeriac.reconciling.reconciler import GIVES_WAY_FOR_SECONDS, GIVES_WAY_SECONDS, Reconciler
from celeriac.reporting.status_book import Budget, StatusBook
from celeriac.reporting.status_writer import StatusWriter
from celeriac.tasks.reader import TaskReader
from celeriac.telemetry.metrics import Metrics
from celeriac.watching.store import Store
from celeriac.watching.workqueue import WorkQueue
from celeriac.workers.custody import Custody
from tests.dialers import dialer
from tests.unit.builders.api_server import ApiServer
from tests.unit.builders.cluster import Body, pool_body, secret_of
from tests.unit.builders.tellers import Listener

pytestmark = pytest.mark.unit

AGENT = {"__init__.py": "import celery\n"}
REDIS = "redis://redis:6379/0"


class Bench:
    """A reconciler with all that it stands on; no broker is read here."""

    def __init__(self, server: ApiServer | None = None) -> None:
        self.server = server or ApiServer()
        self.now = 0.0
        self.told = Listener()
        self.metrics = Metrics()
        self.queue: WorkQueue[PoolKey] = WorkQueue()
        self.store = Store(changed=self.queue.add)
        self.leads = True
        api = cast(Api, self.server)
        authority = Authority(lambda: self.leads, lambda: True)
        credentials = self.credentials = Credentials(api, changed=self.queue.add, clock=lambda: self.now)
        shared: dict[str, Any] = {"store": self.store, "metrics": self.metrics, "queue": self.queue}
        shared |= {"authority": authority}
        actuator = Actuator(api=api, teller=self.told, **shared)
        autoscaler = Autoscaler(
            credentials=credentials,
            connections=Connections(lambda address: connect(address, dialer()), closed=lambda address: None),
            actuator=actuator,
            rollouts=RolloutReader(api),
            custody=Custody(),
            teller=self.told,
            tasks=TaskReader(self.metrics, self.told, 50, changed=self.queue.add),
            **shared,
        )
        applied = AppliedBook()
        self.reconciler = Reconciler(
            api=api,
            credentials=credentials,
            autoscaler=autoscaler,
            refusals=actuator.refusals,
            applier=Applier(api, AgentConfigs(api), AGENT, self.store, applied),
            applied=applied,
            statuses=StatusWriter(api, self.metrics, self.told, StatusBook(Budget(10), 60.0)),
            crowded=lambda: self.crowded,
            clock=lambda: self.now,
            **shared,
        )

    crowded = False
    """Whether more pools wait to be scaled than can be at once."""

    def create(self, name: str, status: Body | None = None, **spec: Any) -> PoolKey:
        """Let a pool be there, on the API server and in the store."""
        body = pool_body(name, uid=f"uid-of-{name}", url=REDIS)
        body |= {"spec": body["spec"] | spec, "status": status or {}}
        self.server.put(CELERY_WORKER_POOLS, body)
        self.store.pool_event(body, deleted=False)
        return PoolKey("shop", name)

    async def digest(self, key: PoolKey) -> str | None:
        """Reconcile, with all Secrets read anew; what the template of the Deployment then tells of them."""
        self.now += SECRET_SECONDS
        for _ in range(2):
            await self.reconciler.reconcile(key)
            for _ in range(5):
                await asyncio.sleep(0)
        template = self.server.objects[DEPLOYMENTS.plural, *key]["spec"]["template"]
        digest: str | None = template["metadata"].get("annotations", {}).get(SECRET_ANNOTATION)
        return digest

    async def work(self, until: str) -> None:
        """Work on the queue with one worker until the Deployment of that name is made."""
        working = asyncio.create_task(self.reconciler.run())
        await asyncio.wait_for(self.server.made(DEPLOYMENTS, "shop", until), 5)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    def count(self, outcome: str) -> float:
        """How many reconciliations ended so."""
        name = "celeriac_reconcile_duration_seconds_count"
        return self.metrics.registry.get_sample_value(name, {"outcome": outcome}) or 0.0


async def test_the_first_pool_of_a_namespace_brings_the_agent_and_the_second_asks_nothing_for_it() -> None:
    bench = Bench()
    bench.create("one")
    await bench.work(until="one")
    [agent] = bench.server.has(CONFIG_MAPS, "shop")
    bench.server.asked.clear()
    bench.create("two")
    await bench.work(until="two")
    assert bench.server.has(CONFIG_MAPS, "shop") == {agent}
    assert [plural for _, plural, _ in bench.server.asked if plural == CONFIG_MAPS.plural] == []


async def test_a_fault_of_ours_with_one_pool_is_told_and_keeps_no_other_waiting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    broken = bench.store.pools.get(bench.create("broken"))
    assert broken is not None
    bench.store.pools.put(broken.key, replace(broken, spec=replace(broken.spec, template=None)))  # type: ignore[type-var]
    bench.create("sound")
    with caplog.at_level(logging.WARNING):
        await bench.work(until="sound")
    [record] = caplog.records
    assert (record.levelname, record.exc_info is not None) == ("ERROR", True)
    assert "pool shop/broken: not reconciled, by a fault of the operator" in record.getMessage()
    assert (bench.count("error"), bench.count("success")) == (1, 1)


async def test_an_api_server_that_has_no_time_is_told_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.create("unlucky")
    bench.server.refusals["apply", "shop/unlucky"] = Unavailable(429, "TooManyRequests", "come again")
    bench.create("lucky")
    with caplog.at_level(logging.WARNING):
        await bench.work(until="lucky")
    [record] = caplog.records
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert "come again" in record.getMessage()


async def test_a_refused_deployment_is_offered_once_and_its_pool_keeps_the_status_of_the_last_leader() -> None:
    bench = Bench()
    key = bench.create("ml", status={"idleSince": "2030-01-01T00:00:00Z"})
    bench.server.refusals["apply", "shop/ml"] = Forbidden(403, "Forbidden", "a policy says no")
    for _ in range(5):
        await bench.reconciler.reconcile(key)
    verbs = [verb for verb, _, name in bench.server.asked if name == "ml"]
    assert verbs.count("apply") == 1
    assert "status" not in verbs, "its broker was not read yet: what the last leader said of its idleness goes on"


async def test_a_spec_that_cannot_be_understood_is_told_at_once_and_changes_no_child() -> None:
    bench = Bench()
    key = bench.create("ml", concurrency="many")
    await bench.reconciler.reconcile(key)
    assert [verb for verb, _, _ in bench.server.asked] == ["status"]
    assert [(notice.type, notice.reason) for notice in bench.told.told] == [("Warning", "InvalidSpec")]


async def test_who_does_not_lead_asks_and_writes_nothing() -> None:
    bench = Bench()
    key = bench.create("ml")
    bench.leads = False
    await bench.reconciler.reconcile(key)
    assert bench.server.asked == []


async def test_a_new_pool_takes_one_request_until_its_broker_is_read() -> None:
    bench = Bench()
    await bench.reconciler.reconcile(bench.create("first"))
    bench.server.asked.clear()
    await bench.reconciler.reconcile(bench.create("second"))
    assert bench.server.asked == [("apply", "deployments", "second")], "its status waits for the first reading"


async def test_while_many_wait_to_be_scaled_a_pool_gives_way_but_not_for_ever() -> None:
    bench = Bench()
    key, begun = bench.create("ml"), bench.now
    bench.crowded = True
    while not bench.server.asked:
        await bench.reconciler.reconcile(key)
        bench.now += GIVES_WAY_SECONDS
        assert bench.now < begun + 2 * GIVES_WAY_FOR_SECONDS
    assert bench.now > begun + GIVES_WAY_FOR_SECONDS
    bench.server.asked.clear()
    bench.crowded = False
    await bench.reconciler.reconcile(bench.create("second"))
    assert bench.server.asked == [("apply", "deployments", "second")]


async def test_a_pool_whose_deletion_the_watch_missed_is_found_gone_before_anything_is_made_anew() -> None:
    bench = Bench()
    key = bench.create("ml")
    await bench.reconciler.reconcile(key)
    del bench.server.objects[CELERY_WORKER_POOLS.plural, "shop", "ml"]
    bench.store.deployment_event(bench.server.objects.pop((DEPLOYMENTS.plural, "shop", "ml")), deleted=True)
    await bench.reconciler.reconcile(key)
    assert bench.store.pools.get(key) is None
    assert bench.server.has(DEPLOYMENTS, "shop") == set()


URL = ("shop", "broker", "url")
FROM_SECRET = {"urlFrom": secret_of("broker")}


async def test_a_changed_secret_is_a_new_template_and_none_of_its_value_is_in_any_object() -> None:
    bench = Bench()
    bench.server.secrets[URL] = "redis://:hunter2@redis:6379/0"
    key = bench.create("ml", broker=FROM_SECRET)
    first = await bench.digest(key)
    assert await bench.digest(key) == first is not None
    bench.server.secrets[URL] = "redis://:hunter3@redis:6379/0"
    assert await bench.digest(key) not in {first, None}
    assert "hunter" not in str(bench.server.objects)


async def test_a_secret_that_is_gone_or_not_read_yet_changes_no_template_by_this_operator_or_the_next() -> None:
    bench = Bench()
    bench.server.secrets[URL] = "redis://:hunter2@redis:6379/0"
    key = bench.create("ml", broker=FROM_SECRET)
    first = await bench.digest(key)
    del bench.server.secrets[URL]
    assert await bench.digest(key) == first
    successor = Bench(bench.server)
    successor.create("ml", broker=FROM_SECRET)
    successor.store.deployment_event(bench.server.objects[DEPLOYMENTS.plural, *key], deleted=False)
    await successor.reconciler.reconcile(key)
    assert await successor.digest(key) == first
    bench.server.secrets[URL] = "redis://:hunter2@redis:6379/0"
    assert await successor.digest(key) == first


async def test_an_owner_who_wants_no_rollout_of_a_changed_secret_gets_none() -> None:
    bench = Bench()
    bench.server.secrets[URL] = "redis://:hunter2@redis:6379/0"
    key = bench.create("ml", broker=FROM_SECRET)
    first = await bench.digest(key)
    bench.create("ml", broker=FROM_SECRET | {"rolloutOnSecretChange": False})
    bench.server.secrets[URL] = "redis://:hunter3@redis:6379/0"
    assert await bench.digest(key) == first
    bench.create("ml", broker=FROM_SECRET)
    assert await bench.digest(key) != first


async def test_a_pool_that_no_longer_takes_its_url_from_a_secret_has_no_digest_of_one() -> None:
    bench = Bench()
    bench.server.secrets[URL] = "redis://:hunter2@redis:6379/0"
    key = bench.create("ml", broker=FROM_SECRET)
    assert await bench.digest(key) is not None
    bench.create("ml")
    assert await bench.digest(key) is None
