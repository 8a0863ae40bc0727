"""Whatever stands in a tenant's Redis, the operator reads it, acts on what is the tenant's own, and says it escaped.

Hypothesis writes; the real reader reads from a real Redis, and everything is made from it that people and the API
server see: looks at the registry, questions, decisions, statuses, events, metrics, lines of the log.
"""

import json
import logging
import math
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from celeriac.api.keys import PoolKey
from celeriac.api.notices import Notice
from celeriac.autoscaling.demand import queues_of
from celeriac.autoscaling.outcome import figures
from celeriac.autoscaling.pool_scaler import PoolScaler, Seed
from celeriac.autoscaling.sight import Sight
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.agents import Process, RegistryEntry, Restored
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import Broker
from celeriac.brokers.readings import PoolReading
from celeriac.cluster.paths import PODS
from celeriac.cluster.records import DeploymentRecord
from celeriac.connecting.credentials import BrokerSource
from celeriac.pool.model import WorkerPool
from celeriac.recovery.gone import NodeQuestion, PodQuestion
from celeriac.recovery.look import Look
from celeriac.recovery.place import Place, PoolHere
from celeriac.recovery.tidings import Tidings
from celeriac.reporting.status import build_status
from celeriac.reporting.view import View
from celeriac.telemetry.metrics import Metrics
from celeriac.watching.store import KnownPool, Store
from tests.integration.brokers import broker_of
from tests.integration.gone_worker import report
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.faults

TENANT, OTHER = PoolKey("tenant", "ml"), PoolKey("other", "video")
UIDS = {TENANT: "uid-of-tenant", OTHER: "uid-of-other"}
PODS_OF = {TENANT: ("a", "b"), OTHER: ("c",)}
LONGEST_MESSAGE = 2500
"""Characters; a condition has 1024 of them, an event 1024 bytes."""
MOST = 2**53 - 1
"""What a number of the status may be: CRD."""
EXAMPLES = 150

ODD = [
    "\r\nX: y",
    "\x1b[31m",
    "\u202e",
    "\x00",
    "\x7f",
    "\u2028",
    "\ud800",
    "..",
    "../../secrets",
    "",
    "é" * 300,
    "\U000e0041",
]
TEXTS = st.sampled_from(ODD) | st.text(max_size=20) | st.just("x" * 2**20)
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -1, 2**53, 2**63, 1e308, -0.0, math.inf, math.nan])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
RAW = st.binary(max_size=64) | st.sampled_from([b"", b"[" * 100_000, b"9" * 5000, b'{"n":' * 9000, b"\xff" * 2**20])
NAMES = st.sampled_from(
    ["kube-system", "other", "tenant", "default", "..", "ml", "a", "b", "c", "ml-a", *UIDS.values()]
)


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def changed(whole: Mapping[str, Any]) -> st.SearchStrategy[bytes]:
    """An object of which some fields are missing or are something else, or something else altogether."""
    fields = st.dictionaries(st.sampled_from(sorted(whole)), VALUES | NAMES, max_size=4)
    without = st.sets(st.sampled_from(sorted(whole)), max_size=1)
    objects = st.builds(
        lambda new, out: encoded({k: v for k, v in {**whole, **new}.items() if k not in out}), fields, without
    )
    return objects | RAW | VALUES.map(encoded)


def of_any_name(*likely: str) -> st.SearchStrategy[bytes]:
    return (
        st.sampled_from([name.encode() for name in likely])
        | RAW
        | TEXTS.map(lambda text: text.encode(errors="replace"))
    )


REPORT = report("ml-a.00000001", "ml-a", 7) | {
    "queues": ["ml"],
    "init": "tini",
    "level": "drain",
    "limited": 1,
    "delivered": 2,
    "timeLimit": 30.0,
    "lostWithChild": 2,
    "tasksLostWithChild": ["tasks.a", "tasks.b"],
    "refused": ["HGET"],
    "separator": ":",
    "prioritySteps": [0, 1],
}
PROCESS = "ml-a.00000001"
REGISTRATION: dict[str, Any] = {
    "pod": "ml-a",
    "podUid": "a",
    "namespace": "tenant",
    "pool": "ml",
    "poolUid": UIDS[TENANT],
    "started": 1e9,
    "unacked": f"unacked.{PROCESS}",
    "index": f"unacked_index.{PROCESS}",
    "mutex": f"unacked_mutex.{PROCESS}",
    "separator": ":",
    "prioritySteps": [0, 3],
    "visibilityTimeout": 3600,
    "maxAttempts": 5,
}
REGISTRIES = st.dictionaries(
    of_any_name(PROCESS, "ml-b.00000002", "coredns-1.00000003"), changed(REGISTRATION), max_size=3
)
REPORTS = st.dictionaries(of_any_name("a", "b", "c"), changed(REPORT), max_size=3)
MARKS = st.dictionaries(of_any_name("a", "b"), TEXTS.map(lambda text: text.encode(errors="replace")), max_size=2)
LISTS = st.dictionaries(
    of_any_name(*UIDS.values(), "uid-of-nobody", "dead"), changed({"namespace": "tenant", "name": "ml"}), max_size=3
)


@dataclass
class Surfaces:
    """All that people and the API server get to see."""

    messages: list[str] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    asked: list[PodQuestion | NodeQuestion] = field(default_factory=list)
    moved: list[Process] = field(default_factory=list)
    metrics: Metrics = field(default_factory=Metrics)

    def tell(self, notice: Notice) -> None:
        self.notices.append(notice)

    def check(self) -> None:
        """Printable and bounded, and of nobody else."""
        texts = [*self.messages, *(notice.message for notice in self.notices)]
        texts += [each["message"] for status in self.statuses for each in status["conditions"]]
        for text in texts:
            assert text.isprintable(), text[:300]
            assert len(text) <= LONGEST_MESSAGE
        for line in generate_latest(self.metrics.registry).decode().splitlines():
            assert line.isprintable(), line
            assert len(line) <= LONGEST_MESSAGE
        for status in self.statuses:
            for number in numbers(status):
                assert math.isfinite(number)
                assert 0 <= number <= MOST
            assert json.loads(json.dumps(status, allow_nan=False)) == status
        assert {notice.pool for notice in self.notices} <= {TENANT}
        for question in self.asked:
            assert not isinstance(question, PodQuestion) or question.namespace == TENANT.namespace
            if isinstance(question, PodQuestion):
                assert unquote(PODS.path(question.namespace, question.name)).startswith(
                    "/api/v1/namespaces/tenant/pods/"
                )
        assert {process.namespace for process in self.moved} <= {TENANT.namespace}


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, Mapping):
        for each in value.values():
            yield from numbers(each)
    elif isinstance(value, list):
        for each in value:
            yield from numbers(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


class Tenants:
    """Two tenants; the fuzz writes into the Redis of one. The other has one of its own, where all is well."""

    def __init__(self, server: RedisServer, broker: Broker) -> None:
        self.server, self.broker = server, broker
        self.surfaces = Surfaces()
        self.address = BrokerAddress(server.celery_url)
        self.pools = {key: self._pool(key) for key in UIDS}
        self.store = Store(lambda _: None)
        for key, uids in PODS_OF.items():
            for uid in uids:
                self.store.pod_event(_pod(key, uid), deleted=False)

    def _pool(self, key: PoolKey) -> KnownPool:
        spec: dict[str, Any] = {"image": "app:1", "app": "app", "pool": "prefork", "queues": [key.name]}
        spec |= {"concurrency": 4, "broker": {"url": self.server.celery_url}}
        metadata = {"namespace": key.namespace, "name": key.name, "uid": UIDS[key], "generation": 1}
        return KnownPool.from_body({"metadata": metadata, "spec": spec})

    def spec(self, key: PoolKey) -> WorkerPool:
        spec = self.pools[key].spec
        assert isinstance(spec, WorkerPool)
        return spec

    async def step(
        self, reports: Mapping[bytes, bytes], then: Mapping[bytes, bytes], marks: Mapping[bytes, bytes]
    ) -> None:
        """Three ticks: the reports, others, and the first again."""
        scaler = PoolScaler(TENANT, UIDS[TENANT], Seed(), 1000.0)
        for number, said in enumerate((reports, then, reports)):
            self._write({"reports": said, "drain": marks})
            (reading,) = await self.broker.queues.read([queues_of(self.spec(TENANT), scaler.layout)])
            self._take(scaler, reading, 1001.0 + 40 * number)

    def _take(self, scaler: PoolScaler, reading: PoolReading | BrokerDoubt, now: float) -> None:
        known = self.pools[TENANT]
        pods = self.store.pods(TENANT)
        deployment = DeploymentRecord(TENANT, "d", 1, 1, 2, 2, 2, 2, controller_uid=UIDS[TENANT])
        step = scaler.step(Sight(self.spec(TENANT), reading, deployment, pods), now)
        self.surfaces.notices += step.notices
        assert step.outcome is not None
        metrics = self.surfaces.metrics
        metrics.workers(TENANT, figures(step.outcome))
        metrics.missing_hooks(TENANT, step.outcome.degradation.hooks if step.outcome.degradation else {})
        view = View(known, deployment, pods=pods, outcome=step.outcome, broker=scaler.doubt)
        self.surfaces.statuses.append(build_status(view, {}, datetime.now(UTC), "selector"))

    async def look(self, listed: Mapping[bytes, bytes], processes: Mapping[bytes, bytes], reports: Any) -> None:
        """Two looks at the registry, half a minute apart; what is found gone would be moved."""
        self._write({"processes": processes, "reports": reports}, listed)
        salvage, tidings = self.broker.salvage, Tidings(self.surfaces.metrics, self.surfaces)
        assert salvage is not None
        place = self._place()
        for now in (1000.0, 1040.0):
            look = Look(place, (), now)
            look.listed(self.address, await salvage.listed([""]))
            while reads := look.reads():
                for address, entries in reads.items():
                    look.registered(address, await salvage.registered(entries))
            questions = look.questions(self.store)
            self.surfaces.asked += questions
            findings = look.findings(self.store, dict.fromkeys(questions, True))
            assert findings.unresolved <= {UIDS[TENANT]}
            tidings.looked(place, look.list_doubts(), now)
            for process, verdict in findings.gone:
                self.surfaces.moved.append(process)
                tidings.restored(place, process, verdict, Restored(restored=1))

    def _place(self) -> Place:
        source, entry = BrokerSource.of_pool(self.spec(TENANT)), RegistryEntry("", UIDS[TENANT])
        place = Place("Redis at redis:6379", living={uid: key for key, uid in UIDS.items()})
        place.reach(source, self.address, "")
        place.pools[entry] = PoolHere(TENANT, True, source, self.spec(TENANT))
        return place

    def _write(
        self, of_the_pool: Mapping[str, Mapping[bytes, bytes]], listed: Mapping[bytes, bytes] | None = None
    ) -> None:
        hashes = {f"celeriac:{UIDS[TENANT]}:{name}": each for name, each in of_the_pool.items()}
        hashes |= {f"celeriac:{UIDS[OTHER]}:{name}": each for name, each in of_the_pool.items()}
        hashes["celeriac:pools"] = listed or {}
        with self.server.client() as client, client.pipeline() as pipe:
            pipe.flushall()
            for key, mapping in hashes.items():
                if mapping:
                    pipe.hset(key, mapping=mapping)
            pipe.execute()


def _pod(key: PoolKey, uid: str) -> dict[str, Any]:
    """A replica that runs and is ready."""
    container = {"name": "worker", "state": {"running": {}}, "ready": True, "started": True}
    conditions = [{"type": "Ready", "status": "True"}]
    return {
        "metadata": {
            "namespace": key.namespace,
            "name": f"{key.name}-{uid}",
            "uid": uid,
            "labels": {"celeriac.dev/pool": key.name},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "rs", "uid": "rs", "controller": True}],
        },
        "spec": {"nodeName": "n1"},
        "status": {"phase": "Running", "conditions": conditions, "containerStatuses": [container]},
    }


class Lines(logging.Handler):
    """What the operator logs."""

    def __init__(self, surfaces: Surfaces) -> None:
        super().__init__(logging.DEBUG)
        self.surfaces = surfaces

    def emit(self, record: logging.LogRecord) -> None:
        assert record.exc_info is None, record.getMessage()
        self.surfaces.messages.append(record.getMessage())


@pytest.fixture
async def broker(server: RedisServer) -> AsyncIterator[Broker]:
    async with broker_of(BrokerAddress(server.celery_url)) as one:
        yield one


FUZZ = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


async def surfaces_of(tenants: Tenants, *work: Any) -> Surfaces:
    logger, handler = logging.getLogger("celeriac"), Lines(tenants.surfaces)
    logger.addHandler(handler)
    try:
        for each in work:
            await each
    finally:
        logger.removeHandler(handler)
    return tenants.surfaces


@FUZZ
@given(LISTS, REGISTRIES, REPORTS)
@example({UIDS[OTHER].encode(): encoded({"namespace": "tenant", "name": "ml"})}, {}, {})
@example({}, {b"coredns-1.00000003": encoded(REGISTRATION | {"namespace": "kube-system"})}, {})
async def test_whatever_stands_in_a_registry_is_read_and_leads_nowhere_else(
    server: RedisServer,
    broker: Broker,
    listed: dict[bytes, bytes],
    processes: dict[bytes, bytes],
    reports: dict[bytes, bytes],
) -> None:
    tenants = Tenants(server, broker)
    (await surfaces_of(tenants, tenants.look(listed, processes, reports))).check()


@pytest.mark.full
@FUZZ
@given(REPORTS, REPORTS, MARKS)
@example({b"a": encoded(REPORT | {"active": 10**300})}, {}, {})
@example({b"a": encoded(REPORT | {"busy": 1e308})}, {b"a": encoded(REPORT | {"busy": 1.7e308, "processed": 90})}, {})
@example({b"a": encoded(REPORT | {"pool": "\x1b[31m\u202e" + "x" * 60_000})}, {}, {})
@example({b"a": encoded(REPORT | {"tasksLostWithChild": ["\r\n\x1b"]})}, {}, {})
@example({b"a": encoded(REPORT | {"timeLimit": 1e300})}, {}, {})
async def test_whatever_a_report_says_a_decision_is_taken_and_the_status_can_be_written(
    server: RedisServer,
    broker: Broker,
    reports: dict[bytes, bytes],
    then: dict[bytes, bytes],
    marks: dict[bytes, bytes],
) -> None:
    tenants = Tenants(server, broker)
    (await surfaces_of(tenants, tenants.step(reports, then, marks))).check()


@FUZZ
@given(REPORTS, MARKS)
async def test_what_one_pool_reports_changes_no_reading_of_another_on_the_same_server(
    server: RedisServer, broker: Broker, reports: dict[bytes, bytes], marks: dict[bytes, bytes]
) -> None:
    tenants = Tenants(server, broker)
    pools = [queues_of(tenants.spec(key)) for key in (TENANT, OTHER)]
    own = {b"c": encoded(report("video-c.00000001", "video-c", 3))}
    with server.client() as client:
        client.flushall()
        client.hset(f"celeriac:{UIDS[OTHER]}:reports", mapping=own)
    before = (await broker.queues.read(pools))[1]
    with server.client() as client:
        for name, mapping in (("reports", reports), ("drain", marks)):
            if mapping:
                client.hset(f"celeriac:{UIDS[TENANT]}:{name}", mapping=mapping)
    now = (await broker.queues.read(pools))[1]
    assert isinstance(before, PoolReading)
    assert now == before
