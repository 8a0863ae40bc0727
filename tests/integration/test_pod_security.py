"""podSecurity: Restricted against the admission controller of a real API server that enforces the standard.

Templates are refused when a pool is written, and by the parser for pools that are older than the rule. None is taken
whose Pods the API server would refuse.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiException

from celeriac.api.keys import PoolKey
from celeriac.pool.model import InvalidPool, PodSecurity
from celeriac.pool.parse import parse_pool
from celeriac.resources import build_deployment
from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import wait_until
from tests.integration.crds import CRDS, install_crds
from tests.integration.kube import POOLS, Kube
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.unit.pool.bodies import Body
from tests.unit.pool.pod_security_rows import ROWS, Row

pytestmark = pytest.mark.integration

STRICT = "strict"


@pytest.fixture(scope="module")
def strict(control_plane: ControlPlane) -> Iterator[Kube]:
    """A namespace whose label enforces the standard."""
    install_crds(control_plane)
    control_plane.kubectl("create", "namespace", STRICT)
    control_plane.kubectl("label", "namespace", STRICT, "pod-security.kubernetes.io/enforce=restricted")
    control_plane.wait_for_service_account(STRICT)
    yield Kube(control_plane.kubeconfig, STRICT)
    control_plane.kubectl("delete", "namespace", STRICT, "--wait=false")


def pods_refusal(kube: Kube, body: Body) -> str:
    """What the admission controller says of the Pods that come of a pool; nothing where it lets them in.

    The parser is asked for less here, so that it says something of templates that the parser refuses.
    """
    spec = {**body["spec"], "podSecurity": "Baseline"}
    pool = replace(parse_pool({**body, "spec": spec}), key=PoolKey(STRICT, "ml"), pod_security=PodSecurity.RESTRICTED)
    template = build_deployment(pool)["spec"]["template"]
    pod: Any = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {**template["metadata"], "name": "one"}}
    try:
        kube.core.create_namespaced_pod(STRICT, pod, dry_run="All")
    except ApiException as refused:
        # Some members are refused earlier, as they do not go with others: privileged without privilege escalation.
        return str(json.loads(refused.body or "{}")["message"])
    return ""


def pools_refusal(kube: Kube, body: Body) -> list[tuple[str, str]]:
    """Fields and messages by which the API server refuses a pool."""
    manifest = {**body, "metadata": {"name": "ml"}}
    try:
        kube.try_create(POOLS, manifest)
    except ApiException as refused:
        causes = json.loads(refused.body or "{}")["details"]["causes"]
        return [(cause["field"], cause["message"]) for cause in causes]
    return []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.template)[:100])
def test_a_template_is_taken_where_its_pods_are(strict: Kube, row: Row) -> None:
    refused = pods_refusal(strict, row.body())
    assert bool(refused) == (row.refused is not None and not row.stricter), refused
    found = pools_refusal(strict, row.body())
    if row.refused is None:
        assert found == []
    else:
        ((field, message),) = found
        assert field.startswith("spec.template.")
        assert row.refused.startswith(field)
        assert "under podSecurity: Restricted" in message
    assert pools_refusal(strict, row.body("Baseline")) == []


def merged(rows: list[Row]) -> Row:
    """All of it in one template: lists after each other, objects over each other."""
    spec: Body = {}
    annotations: Body = {}
    for row in rows:
        annotations |= row.template.get("metadata", {}).get("annotations", {})
        for name, value in row.template.get("spec", {}).items():
            if isinstance(value, list):
                items = [*spec.get(name, []), *value]
                spec[name] = [{**item, "name": f"{name.lower()}-{number}"} for number, item in enumerate(items)]
            else:
                spec[name] = {**spec.get(name, {}), **value}
    return Row({"metadata": {"annotations": annotations}, "spec": spec}, None)


def is_taken(row: Row) -> bool:
    try:
        parse_pool(row.body())
    except InvalidPool:
        return False
    return True


def test_whatever_is_put_together_three_say_the_same(strict: Kube) -> None:
    """The parser, the rules of the CRD, and the admission controller, of 120 templates of up to five parts."""
    chance = random.Random(10)
    rows = [row for row in ROWS if not row.stricter]
    good = [row for row in rows if row.refused is None]
    taken = 0
    for number in range(120):
        row = merged(chance.sample(rows if number % 3 == 0 else good, chance.randint(2, 5)))
        refused = pods_refusal(strict, row.body())
        says = is_taken(row), not pools_refusal(strict, row.body()), not refused
        assert len(set(says)) == 1, (says, row.template, refused)
        taken += says[0]
    assert 60 <= taken <= 110


@pytest.mark.full
def test_a_pool_that_is_older_than_the_rules_is_told_and_its_workers_go_on(
    strict: Kube, control_plane: ControlPlane, namespace: str, redis: RedisServer
) -> None:
    """An upgrade. Everything about it can still be written, its status and labels too; once mended it stays so."""
    kube = Kube(control_plane.kubeconfig, namespace)
    node = {"spec": {"volumes": [{"name": "node", "hostPath": {"path": "/"}}]}}
    strictly = {"spec": {"podSecurity": "Restricted"}}
    with OperatorProcess(control_plane.kubeconfig, namespace) as operator:
        for name in ("ml", "probe"):
            kube.create_pool(name, redis.celery_url, replicas=1, template=node)
            kube.wait_for_replicas(name, 1)
        assert operator.stop() == 0
        try:
            control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=older_crd())
            wait_until(lambda: not refuses(kube, "ml", strictly), "there are no rules", seconds=30)
        finally:
            install_crds(control_plane)
        wait_until(lambda: refuses(kube, "probe", strictly), "the rules are there again", seconds=30)
        operator.start()
        told = kube.wait_for_condition("ml", "Ready", "False", "InvalidSpec")["message"]
        assert "spec.template.spec.volumes[0].hostPath" in told
        assert not refuses(kube, "ml", {"metadata": {"labels": {"team": "shop"}}, "spec": {"replicas": 2}})
        kube.wait_for_pool("ml", lambda pool: pool["status"]["observedGeneration"] == pool["metadata"]["generation"])
        assert kube.replicas("ml") == 1
        kube.patch(POOLS, "ml", {"spec": {"template": None}})
        kube.wait_for_replicas("ml", 2)
        assert refuses(kube, "ml", {"spec": {"template": node}})


def older_crd() -> str:
    """The CRD without the rules."""
    crd = yaml.safe_load((CRDS / "celeryworkerpools.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    rules = schema["x-kubernetes-validations"]
    schema["x-kubernetes-validations"] = others = [rule for rule in rules if "podSecurity" not in rule["message"]]
    assert len(others) == 1, "that of the name"
    return str(yaml.safe_dump(crd))


def refuses(kube: Kube, pool: str, patch: Body) -> bool:
    try:
        kube.patch(POOLS, pool, patch)
    except ApiException as error:
        return "under podSecurity: Restricted" in (error.body or "")
    return False
