"""Two tenants, two Redis. One writes into its own Redis whatever it likes about the other: nothing changes there."""

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import wait_until
from tests.faults.conftest import SECONDS, Figure
from tests.integration.brokers import producer
from tests.integration.crds import install_crds
from tests.integration.gone_worker import GoneWorker
from tests.integration.kube import DEPLOYMENTS, EVENTS, POOLS, Body, Kube
from tests.integration.operator_process import OperatorProcess, faultless
from tests.integration.redis_server import RedisServer
from tests.integration.shop import Shop

pytestmark = pytest.mark.faults

USER = "operator-of-two-tenants"
NOT_THEIRS = "kube-system"
"""A namespace that no pool is in."""
MARK = "W1CKED"
"""Stands in every text that the tenant writes."""
TEXT = f"{MARK}\r\nlevel=error \x1b[31mred\x1b[0m \u202eesrever" + "x" * 500
AT_ONCE = {"scaleToZeroAfterSeconds": 1, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}
"""A pool that goes to zero once it is idle, and has nothing to wait for."""
OF_ITS_SIZE = {"Ready", "Reconciling", "ScalingActive", "ScalingLimited", "Draining"}
SILENT_SECONDS = 45.0
"""Longer than a worker may be silent before the API server is asked about it."""


class Tenant(Shop):
    """A namespace whose owner means harm, with a Redis of its own."""

    def registers(self, uid: str, name: str, **wrong: Any) -> GoneWorker:
        """A process under the uid of anybody's pool; it holds nothing."""
        worker = GoneWorker(self.redis, name, pool_uid=uid, namespace=self.kube.namespace)
        self.write(worker.key("processes"), worker.process, json.dumps(worker.registration | wrong))
        return worker

    def write(self, key: str, field: str, text: str | bytes) -> None:
        """A field of a hash."""
        with self.redis.client() as client:
            client.hset(key, field, text)


@pytest.fixture
def tenant(control_plane: ControlPlane, namespace: str, redis: RedisServer) -> Iterator[Tenant]:
    """Its pool `ml` was there for a while, and a Pod of it still is; its pool `own` stays."""
    install_crds(control_plane)
    tenant = Tenant(control_plane, namespace, redis)
    with tenant.node:
        yield tenant


@pytest.fixture
def other(control_plane: ControlPlane, core_api: Any, namespace: str) -> Iterator[Kube]:
    """The namespace of somebody else."""
    name = f"{namespace}-other"
    core_api.create_namespace({"metadata": {"name": name}})
    yield Kube(control_plane.kubeconfig, name, patience=SECONDS)
    core_api.delete_namespace(name)


@pytest.fixture
def operator(control_plane: ControlPlane, tenant: Tenant) -> Iterator[OperatorProcess]:
    """It serves the whole cluster."""
    kubeconfig = control_plane.kubeconfig_for(USER, ["system:masters"])
    with faultless(kubeconfig, tenant.kube.namespace, clusterwide=True) as running:
        yield running


def asked_for(control_plane: ControlPlane, seen: int) -> set[tuple[str, str]]:
    """Namespace and name of each Pod that the operator has read since, one by one."""
    events = itertools.islice(control_plane.audit_events(), seen, None)
    objects = [event["objectRef"] for event in events if event["user"]["username"] == USER and event["verb"] == "get"]
    return {(each["namespace"], each["name"]) for each in objects if each["resource"] == "pods"}


def told_of(kube: Kube) -> list[str]:
    """The events of a namespace but those of scaling."""
    events = [event for event in kube.list(EVENTS) if event["regarding"]["kind"] == "CeleryWorkerPool"]
    return [f"{event['reason']}: {event['note']}" for event in events if not event["reason"].startswith("Scaled")]


@pytest.mark.full
def test_what_a_tenant_writes_about_the_pool_of_another_into_its_own_redis_changes_nothing_there(
    control_plane: ControlPlane, tenant: Tenant, other: Kube, operator: OperatorProcess, figure: Figure
) -> None:
    with RedisServer() as elsewhere:
        uid = other.create_pool("ml", elsewhere.celery_url, scaling=AT_ONCE)["metadata"]["uid"]
        other.wait_for_condition("ml", "BrokerReachable", "True", "Readable")
        tenant.open(tenant.redis.celery_url)
        tenant.kube.create_pool("own", tenant.redis.celery_url, scaling={"mode": "Paused"})
        for name in ("ml", "own"):
            tenant.kube.wait_for_condition(name, "BrokerReachable", "True", "Readable")
        tenant.node.run("ml-bare", "ml", tenant.broker)
        tenant.delete_pool()
        before, status = sum(1 for _ in control_plane.audit_events()), other.get(POOLS, "ml")["status"]
        lies(tenant, other, uid)
        began = time.monotonic()
        # The tenant's own is looked after in the same looks, however poisoned its registry is.
        own = GoneWorker(tenant.redis, "ml-bare-2", pool_uid=tenant.pool_uid, namespace=tenant.kube.namespace)
        tenant.send("a")
        own.take("mail")
        tenant.wait_until_back("a")
        figure("the tenant's own message is back after", time.monotonic() - began, "s")
        time.sleep(max(0.0, SILENT_SECONDS - (time.monotonic() - began)))
        with elsewhere.client() as client:
            client.rpush("ml", *[b"{}"] * 4)
        other.wait_for(DEPLOYMENTS, "ml", lambda found: found["spec"]["replicas"] > 0)
        with elsewhere.client() as client:
            client.delete("ml")
        began = time.monotonic()
        other.wait_for_replicas("ml", 0)
        figure("the other's pool at zero after", time.monotonic() - began, "s")
        assert told_of(other) == []
        assert {namespace for namespace, _ in asked_for(control_plane, before)} <= {tenant.kube.namespace}
        assert changes(status, other.get(POOLS, "ml")["status"]) == set()
        figures = [line for line in operator.metrics().splitlines() if f'namespace="{other.namespace}"' in line]
        assert [line for line in figures if "restored" in line or "recovery_failures" in line] == []
    surfaces = {"log": operator.log(), "metrics": operator.metrics()}
    surfaces |= {kube.namespace: json.dumps([*kube.list(EVENTS), *kube.list(POOLS)]) for kube in (tenant.kube, other)}
    assert "\x1b" not in surfaces["log"]
    assert "\u202e" not in "".join(surfaces.values())
    assert max(map(len, surfaces["log"].splitlines())) < 4000
    assert MARK not in surfaces["metrics"] + surfaces[other.namespace]
    assert "celeriac_strange_pools 1.0" in surfaces["metrics"]


def lies(tenant: Tenant, other: Kube, uid: str) -> None:
    """Whatever may be said of a pool that is somebody else's."""
    reports = f"celeriac:{uid}:reports"
    tenant.registers(uid, "ml-lost")  # its Pod is not there, and it goes on reporting
    tenant.registers(uid, "ml-theirs", namespace=other.namespace)
    for number, namespace in enumerate([NOT_THEIRS, "default", other.namespace]):
        tenant.registers(tenant.pool_uid, f"coredns-{number}", namespace=namespace)
    tenant.write(f"celeriac:{uid}:processes", TEXT, "{}")
    tenant.write(f"celeriac:{uid}:processes", "ml-x.00000000", json.dumps({"namespace": TEXT}))
    tenant.write(f"celeriac:{tenant.pool_uid}:processes", TEXT, json.dumps({"namespace": ".."}))
    tenant.write(reports, TEXT, json.dumps({"v": 1, "state": TEXT}))
    tenant.write("celeriac:pools", TEXT, "{}")
    tenant.write("celeriac:pools", uid, json.dumps({"namespace": tenant.kube.namespace, "name": "ml"}))
    held = GoneWorker(tenant.redis, "ml-held", pool_uid=uid, namespace=tenant.kube.namespace)
    producer(tenant.redis).send_task("task", queue="video", task_id="b")
    held.take("video")
    tenant.write("celeriac:pools", uid, json.dumps({"namespace": tenant.kube.namespace, "name": "ml"}))


def changes(before: Body, now: Body) -> set[str]:
    """Types of the conditions whose status or reason is another; those of its size come and go."""
    said = [{(c["type"], c["status"], c["reason"]) for c in status["conditions"]} for status in (before, now)]
    return {type_ for type_, _, _ in said[0] ^ said[1] if type_ not in OF_ITS_SIZE}


def test_a_pod_alone_leads_the_operator_nowhere(
    control_plane: ControlPlane, tenant: Tenant, operator: OperatorProcess, figure: Figure
) -> None:
    """Whoever may make a Pod gives it the labels and the annotation of a pool, also of one that is there."""
    tenant.open(tenant.redis.celery_url)
    tenant.kube.wait_for_condition("ml", "BrokerReachable", "True", "Readable")
    with RedisServer() as target, target.client() as client:
        before = client.info("stats")["total_connections_received"]
        reference = tenant.broker.replace(str(tenant.redis.port), str(target.port))
        assert reference != tenant.broker
        for name, pool in (("ml-1", "ml"), ("ghost-1", "ghost")):
            tenant.node.run(name, pool, reference)

        def connections() -> int:
            return int(client.info("stats")["total_connections_received"] - before)

        def is_counted(count: int) -> bool:
            return connections() > 0 or f"celeriac_strange_pod_brokers {count}.0" in operator.metrics()

        # The Pods may come to be known one after the other, and a look every five seconds counts them.
        wait_until(lambda: is_counted(2), "both Pods are counted", seconds=SECONDS)
        assert "it is not connected to" in operator.log()
        known = tenant.worker("ml-2")
        tenant.send("a")
        known.takes(1, started=True)
        tenant.wait_until_all_was_judged()
        tenant.node.run("ghost-2", "another-ghost", reference)
        wait_until(lambda: is_counted(3), "the Pods of the pool that was seen are not counted", seconds=SECONDS)
        figure("connections to the broker of a bare Pod", connections(), "")
        assert connections() == 0
