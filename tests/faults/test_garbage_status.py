"""Whoever may write the status subresource may write anything there: nobody fails, and what is true comes back."""

import copy
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.faults.conftest import Figure
from tests.integration.crds import POOLS as CRD
from tests.integration.crds import install_crds
from tests.integration.kube import POOLS, Body, Kube
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.tasks import push

pytestmark = pytest.mark.faults

ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
DEEPEST = 9_900
"""An API server takes 10,000 levels in all."""
STATUS_SCHEMA = "/spec/versions/0/schema/openAPIV3Schema/properties/status"


def deep(levels: int) -> Any:
    """An object in an object in an object."""
    found: Any = 1
    for _ in range(levels):
        found = {"a": found}
    return found


def nested(levels: int) -> str:
    """The same as JSON, which json.dumps would not write."""
    return '{"a": ' * levels + "1" + "}" * levels


def not_a_field_right(status: Body) -> Body:
    """Each field that the operator wrote, of another type, deep or huge; what /scale shows, the API server checks."""
    odd = {str: 7, int: "x", float: [], list: {"a": 1}, dict: "no"}
    return {
        **{name: odd[type(value)] for name, value in status.items()},
        **{name: status[name] for name in ("replicas", "selector")},
        "idleSince": 7,
        "idleSeconds": "x",
        "taskRuntimeSeconds": 1e300,
        "coldStartSeconds": deep(400),
        "learnedLayout": [1],
        "reserved": "x" * 200_000,
        "unknown": [deep(400)],
    }


@pytest.fixture
def loose(control_plane: ControlPlane, kube: Kube) -> Iterator[ControlPlane]:
    """The CRD of somebody who lets anything pass, as one of an older release may."""
    rules = {"op": "remove", "path": STATUS_SCHEMA.replace("properties/status", "x-kubernetes-validations")}
    loosened = [rules, {"op": "replace", "path": STATUS_SCHEMA, "value": ANYTHING}]
    control_plane.kubectl("patch", "crd", CRD, "--type=json", f"--patch={json.dumps(loosened)}")
    yield control_plane
    install_crds(control_plane)


def replace_status(control_plane: ControlPlane, namespace: str, status: Any) -> Body:
    """As kubectl replace --subresource=status; the pool as it was before."""
    before: Body = json.loads(control_plane.kubectl(f"--namespace={namespace}", "get", "cwp", "ml", "--output=json"))
    body = copy.deepcopy(before) | {"status": status}
    control_plane.kubectl("replace", "--subresource=status", "--filename=-", stdin=json.dumps(body))
    return before


def standing(pool: Body) -> dict[str, tuple[str, str]]:
    conditions = pool["status"]["conditions"]
    return {each["type"]: (each["status"], each["reason"]) for each in conditions}


def is_well(status: Any) -> bool:
    conditions = status.get("conditions") if isinstance(status, dict) else None
    return isinstance(conditions, list) and len(conditions) > 2


def test_a_garbage_status_fails_nobody_and_is_written_over_by_whoever_leads(
    loose: ControlPlane, kube: Kube, operator: OperatorProcess, redis: RedisServer, figure: Figure
) -> None:
    kube.create_pool("ml", redis.celery_url)
    kube.create_pool("neighbour", redis.celery_url)
    for name in ("ml", "neighbour"):
        kube.wait_for_condition(name, "Ready", "True", "ScaledToZero")
    told = kube.get(POOLS, "ml")["status"]
    odd = {**told, "conditions": [7, {"type": []}], "unknown": deep(400)}
    before = replace_status(loose, kube.namespace, odd)
    begun = time.monotonic()
    back = kube.wait_for_pool("ml", lambda pool: is_well(pool.get("status")))
    figure("true again after", time.monotonic() - begun, "s")
    assert standing(back) == standing(before)
    assert "unknown" not in back["status"]
    operator.stop()
    replace_status(loose, kube.namespace, not_a_field_right(told))
    push(redis, "neighbour", 1)
    operator.forget_log()
    operator.start()
    operator.wait_for_log("this replica leads")
    begun = time.monotonic()
    kube.wait_for_replicas("neighbour", 1)
    figure("a neighbour of the broker, under a new leader", time.monotonic() - begun, "s")
    back = kube.wait_for_pool("ml", lambda pool: is_well(pool.get("status")))
    assert standing(back) == standing(before)
    assert "Traceback" not in operator.log()
    assert operator.log().count("its status was not what the operator had written") == 2


@pytest.mark.full
def test_a_pool_as_deep_as_an_api_server_takes_it_hides_no_other(
    control_plane: ControlPlane, kube: Kube, operator: OperatorProcess, redis: RedisServer, figure: Figure
) -> None:
    """Its affinity is checked by nobody before there are Pods. One such object once ended the watch of all pools."""
    kube.create_pool("ml", redis.celery_url)
    kube.wait_for_condition("ml", "Ready", "True", "ScaledToZero")
    spec = json.dumps({"image": "app:1", "app": "app", "broker": {"url": redis.celery_url}, "template": {"spec": "?"}})
    affinity = f'{{"affinity": {{"nodeAffinity": {nested(DEEPEST)}}}}}'
    head = '{"apiVersion": "celeriac.dev/v1alpha1", "kind": "CeleryWorkerPool", "metadata": {"name": "deep"}, "spec": '
    path = f"/apis/celeriac.dev/v1alpha1/namespaces/{kube.namespace}/celeryworkerpools"
    control_plane.kubectl("create", "--raw", path, "-f", "-", stdin=head + spec.replace('"?"', affinity) + "}")
    begun = time.monotonic()
    push(redis, "ml", 1)
    kube.wait_for_replicas("ml", 1)
    figure("another pool scales after", time.monotonic() - begun, "s")
    operator.stop()
    operator.start()
    push(redis, "ml", 1)
    kube.wait_for_replicas("ml", 2)
    assert "Traceback" not in operator.log()


@pytest.mark.full
def test_figures_that_somebody_else_writes_within_the_schema_do_not_stay(
    control_plane: ControlPlane, kube: Kube, operator: OperatorProcess, redis: RedisServer
) -> None:
    kube.create_pool("ml", redis.celery_url)
    kube.wait_for_condition("ml", "Ready", "True", "ScaledToZero")
    before = replace_status(control_plane, kube.namespace, {"replicas": 999, "selector": "app=other"})
    back = kube.wait_for_pool("ml", lambda pool: pool["status"].get("replicas") == 0)
    assert (standing(back), back["status"]["selector"]) == (standing(before), before["status"]["selector"])
    assert "Traceback" not in operator.log()
