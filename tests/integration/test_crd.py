"""The CRD on a real API server: what it accepts and fills in, and what it refuses, in words that help."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml
from kubernetes import client, config

from celeriac.pool.model import Agent
from celeriac.pool.parse import parse_pool
from tests.cluster.control_plane import ControlPlane
from tests.cluster.errors import ClusterError
from tests.cluster.process import wait_until
from tests.integration.bad_pools import BAD, PASSWORD, broker
from tests.integration.crds import CRDS, definition, install_crds, wait_established
from tests.unit.pool.bodies import Body, minimal, variants
from tests.unit.pool.test_broker_url import BAD as BAD_URLS
from tests.unit.pool.test_broker_url import GOOD as GOOD_URLS

pytestmark = pytest.mark.integration

CRD = CRDS / "celeryworkerpools.yaml"
GROUP, VERSION, PLURAL = "celeriac.dev", "v1alpha1", "celeryworkerpools"
UNPIN = '{"spec":{"replicas":null}}'

STATUS = {
    "observedGeneration": 1,
    "replicas": 4,
    "readyReplicas": 3,
    "desiredReplicas": 5,
    "selector": "celeriac.dev/pool=ml",
    "waiting": 120,
    "running": 12,
    "scheduled": 7,
    "reserved": 5,
    "heldElsewhere": 2,
    "deadLetters": 1,
    "oldestTaskSeconds": 42.5,
    "taskRuntimeSeconds": 0.125,
    "arrivalsPerSecond": 12.5,
    "departuresPerSecond": 0.04,
    "coldStartSeconds": 2.5,
    "idleSince": "2026-01-02T03:04:05Z",
    "decision": {"reason": "Backlog", "message": "120 waiting, 12 running", "time": "2026-01-02T03:04:05Z"},
    "conditions": [
        {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": "all is well",
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }
        for kind, reason in (("Ready", "Ready"), ("BrokerReachable", "Readable"))
    ],
}


@pytest.fixture(scope="module", autouse=True)
def crd(control_plane: ControlPlane) -> None:
    install_crds(control_plane)


@pytest.fixture(scope="module")
def api(control_plane: ControlPlane) -> Iterator[client.CustomObjectsApi]:
    with config.new_client_from_config(str(control_plane.kubeconfig)) as api_client:  # type: ignore[no-untyped-call]
        yield client.CustomObjectsApi(api_client)


class Pools:
    """CeleryWorkerPools in the test's namespace."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self._control_plane = control_plane
        self.namespace = namespace

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self._control_plane.kubectl("--namespace", self.namespace, *arguments, stdin=stdin)

    def apply(self, body: Body, *options: str) -> str:
        manifest = {**body, "metadata": {"name": body["metadata"]["name"]}}
        return self.kubectl("apply", *options, "-f", "-", stdin=yaml.safe_dump(manifest))

    def get(self) -> Body:
        return dict(json.loads(self.kubectl("get", "cwp/ml", "-ojson")))

    def set_status(self, **status: Any) -> None:
        self.kubectl("patch", "cwp/ml", "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))

    def scale(self) -> Body:
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{self.namespace}/{PLURAL}/ml/scale"
        return dict(json.loads(self.kubectl("get", "--raw", path)))


@pytest.fixture
def pools(control_plane: ControlPlane, namespace: str) -> Pools:
    return Pools(control_plane, namespace)


either_way = pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="client-side"),
        # As the CRDs themselves are applied for nearly all other stories.
        pytest.param(("--server-side",), id="server-side", marks=pytest.mark.full),
    ],
)


@pytest.mark.full
@either_way
def test_it_applies_to_a_cluster_that_never_saw_it(control_plane: ControlPlane, options: tuple[str, ...]) -> None:
    """Under another group, as the cluster of the tests has it already."""
    group = "server.example.com" if options else "client.example.com"
    crd = yaml.safe_load(CRD.read_text())
    crd["metadata"]["name"] = f"{PLURAL}.{group}"
    crd["spec"]["group"] = group
    try:
        control_plane.kubectl("apply", *options, "-f", "-", stdin=yaml.safe_dump(crd))
        wait_established(control_plane, f"{PLURAL}.{group}")
        again = control_plane.kubectl("apply", *options, "-f", "-", stdin=yaml.safe_dump(crd))
        stored = definition(control_plane, f"{PLURAL}.{group}")
    finally:
        control_plane.kubectl("delete", "crd", f"{PLURAL}.{group}", "--ignore-not-found")
    assert ("serverside-applied" if options else "unchanged") in again
    conditions = {condition["type"]: condition["status"] for condition in stored["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}  # no NonStructuralSchema


def test_defaults_appear_where_the_user_said_nothing(pools: Pools) -> None:
    pools.apply(minimal())
    assert pools.get()["spec"] == {
        **minimal()["spec"],
        "queues": ["celery"],
        "pool": "prefork",
        "launcher": ["python"],
        "scaling": {"minReplicas": 0, "maxReplicas": 20, "scaleToZeroAfterSeconds": 300, "mode": "Auto"},
        "worker": {"events": False, "logLevel": "INFO"},
        "drain": {"timeoutSeconds": 3600},
        "agent": "enabled",
        "redelivery": {"maxAttempts": 5},
        "podSecurity": "Baseline",
    }


@pytest.mark.parametrize("body", [minimal(), *variants()], ids=["minimal", "full", "custom", "sentinel"])
def test_what_the_server_stores_is_what_the_operator_reads(pools: Pools, body: Body) -> None:
    pools.apply(body)
    stored = parse_pool(pools.get())
    written = parse_pool(body)
    assert replace(stored, key=written.key, uid=written.uid, generation=written.generation) == written


@either_way
def test_a_user_switches_the_target_by_applying_the_other(pools: Pools, options: tuple[str, ...]) -> None:
    for target in ({"queueWaitSeconds": 5}, {"tasksPerSlot": 2}, {"queueWaitSeconds": 0.5}):
        pools.apply(minimal(scaling={"target": target}), *options)
        assert pools.get()["spec"]["scaling"]["target"] == target


@either_way
def test_a_user_switches_the_level_of_the_agent(pools: Pools, options: tuple[str, ...]) -> None:
    """Up, down, by the word of earlier releases, and back to the default."""
    words = ["report", "inflight", "drain", "disabled", "enabled", "report", None]
    levels = [Agent.REPORT, Agent.INFLIGHT, Agent.DRAIN, Agent.DISABLED, Agent.DRAIN, Agent.REPORT, Agent.DRAIN]
    for word, level in zip(words, levels, strict=True):
        pools.apply(minimal(**({} if word is None else {"agent": word})), *options)
        assert parse_pool(pools.get()).agent is level


@pytest.mark.full
@either_way
def test_redelivery_falls_back_to_its_default_when_it_is_dropped(pools: Pools, options: tuple[str, ...]) -> None:
    for spec, attempts in (({"redelivery": {"maxAttempts": 2}}, 2), ({"redelivery": {}}, 5), ({}, 5)):
        pools.apply(minimal(**spec), *options)
        assert parse_pool(pools.get()).max_attempts == attempts


STRATEGIES: list[Body] = [
    {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}},
    {"strategy": {"type": "Recreate"}},
    {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "50%"}}},
    {},
    {"strategy": {"type": "Recreate"}},
    {"strategy": {"rollingUpdate": {"maxUnavailable": "10%"}}},
]


@pytest.mark.full
@either_way
def test_a_user_switches_the_strategy_by_applying_another(pools: Pools, options: tuple[str, ...]) -> None:
    for spec in STRATEGIES:
        pools.apply(minimal(**spec), *options)
        assert pools.get()["spec"].get("strategy") == spec.get("strategy")


def test_a_merge_patch_that_adds_a_second_target_says_how_to_switch(pools: Pools) -> None:
    pools.apply(minimal(scaling={"target": {"queueWaitSeconds": 5}}))
    patch = {"spec": {"scaling": {"target": {"tasksPerSlot": 2}}}}
    with pytest.raises(ClusterError, match="set it to null"):
        pools.kubectl("patch", "cwp/ml", "--type=merge", "-p", json.dumps(patch))
    patch["spec"]["scaling"]["target"]["queueWaitSeconds"] = None  # type: ignore[assignment]
    pools.kubectl("patch", "cwp/ml", "--type=merge", "-p", json.dumps(patch))
    assert pools.get()["spec"]["scaling"]["target"] == {"tasksPerSlot": 2}


@pytest.mark.parametrize("replicas", [3, 0])
def test_kubectl_scale_pins_and_only_a_null_unpins(pools: Pools, replicas: int) -> None:
    pools.apply(minimal())
    pools.kubectl("scale", "cwp/ml", f"--replicas={replicas}")
    assert pools.get()["spec"]["replicas"] == replicas
    pools.apply(minimal())
    assert pools.get()["spec"]["replicas"] == replicas
    pools.kubectl("patch", "cwp", "ml", "--type=merge", "-p", UNPIN)
    assert "replicas" not in pools.get()["spec"]


def test_an_unpinned_pool_has_no_scale_to_read_but_a_pinned_one_has(pools: Pools) -> None:
    pools.apply(minimal())
    pools.set_status(**STATUS)
    with pytest.raises(ClusterError, match="InternalError"):
        pools.scale()
    pools.kubectl("scale", "cwp/ml", "--replicas=2")
    scale = pools.scale()
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == {"replicas": 4, "selector": "celeriac.dev/pool=ml"}


def table(text: str) -> dict[str, str]:
    """The one row that kubectl printed, by column; columns stand at the places of their heads."""
    head, row = text.splitlines()
    starts = [index for index, letter in enumerate(head) if letter != " " and (index == 0 or head[index - 1] == " ")]
    ends = [*starts[1:], None]
    return {head[a:b].strip(): row[a:b].strip() for a, b in zip(starts, ends, strict=True)}


def test_kubectl_get_says_what_the_pool_is_doing(pools: Pools) -> None:
    pools.apply(minimal(queues=["images", "videos"]))
    pools.set_status(**STATUS)
    row = table(pools.kubectl("get", "cwp"))
    assert row.pop("AGE")
    assert row == {
        "NAME": "ml",
        "POOL": "prefork",
        "WAITING": "120",
        "RUNNING": "12",
        "DESIRED": "5",
        "READY": "3",
        "STATE": "Ready",
        "DECISION": "Backlog",
    }
    wide = table(pools.kubectl("get", "cwp", "-owide"))
    assert wide["QUEUES"] == '["images","videos"]'
    assert (wide["RESERVED"], wide["RUNTIME"], wide["OLDEST"], wide["DEAD"]) == ("5", "0.125", "42", "1")
    assert (wide["MODE"], wide["BROKER"], wide["MESSAGE"]) == ("Auto", "Readable", "120 waiting, 12 running")
    assert table(pools.kubectl("get", "celery"))["NAME"] == "ml"


def test_the_whole_status_is_stored(pools: Pools) -> None:
    pools.apply(minimal())
    pools.set_status(**STATUS)
    assert pools.get()["status"] == STATUS


def test_kubectl_explain_teaches(control_plane: ControlPlane) -> None:
    wait_until(lambda: published(control_plane), "the OpenAPI document of the group", seconds=30)
    text = " ".join(control_plane.kubectl("explain", "cwp.spec.scaling").split())
    assert "Seconds without any task, waiting or running, before the last pod goes." in text
    assert "enum: Auto, DryRun, Paused" in text
    assert "pinned" in control_plane.kubectl("explain", "cwp.spec.replicas")
    everything = control_plane.kubectl("explain", "cwp", "--recursive")
    assert "stabilizationWindowSeconds" in everything


def published(control_plane: ControlPlane) -> bool:
    """Whether the API server has the schema in its OpenAPI document, a moment after it serves the API."""
    try:
        return "CeleryWorkerPool" in control_plane.kubectl("get", "--raw", f"/openapi/v3/apis/{GROUP}/{VERSION}")
    except ClusterError:
        return False


def test_a_field_that_is_not_offered_is_named(pools: Pools) -> None:
    with pytest.raises(ClusterError, match=r'unknown field "spec\.template\.spec\.hostNetwork"'):
        pools.apply(minimal(template={"spec": {"hostNetwork": True}}))


@pytest.mark.parametrize(("spec", "cure"), BAD, ids=[json.dumps(spec)[:80] for spec, _ in BAD])
def test_a_bad_field_is_refused_with_its_cure(api: client.CustomObjectsApi, spec: Body, cure: str) -> None:
    assert cure in refusal(api, minimal(**spec))


def test_a_name_too_long_for_a_label_is_refused(api: client.CustomObjectsApi) -> None:
    assert "choose a shorter one" in refusal(api, minimal(), name="x" * 64)


def url_only(url: str) -> Body:
    return minimal(**broker(url=url, **({"sentinelMaster": "mymaster"} if url.startswith("sentinel:") else {})))


@pytest.mark.parametrize("url", [url for url in GOOD_URLS if "@" not in url and url == url.strip()])
def test_a_broker_url_that_the_operator_can_use_is_taken(api: client.CustomObjectsApi, url: str) -> None:
    propose(api, url_only(url))


@pytest.mark.parametrize("url", [url for url, _ in BAD_URLS])
def test_a_broker_url_that_the_operator_cannot_use_is_refused(api: client.CustomObjectsApi, url: str) -> None:
    assert "broker.url" in refusal(api, url_only(url))


def propose(api: client.CustomObjectsApi, body: Body, name: str = "ml") -> None:
    """Offer a pool to the API server, which checks it as ever and stores nothing."""
    spec = {key: value for key, value in body["spec"].items() if value is not None}
    manifest = {**body, "metadata": {"name": name}, "spec": spec}
    api.create_namespaced_custom_object(
        GROUP, VERSION, "default", PLURAL, manifest, dry_run="All", field_validation="Strict"
    )


def refusal(api: client.CustomObjectsApi, body: Body, name: str = "ml") -> str:
    """What the API server says to a pool that it does not take."""
    with pytest.raises(client.ApiException) as caught:
        propose(api, body, name)
    assert caught.value.status == 422
    message = str(json.loads(caught.value.body or "{}")["message"])
    assert PASSWORD not in message
    return message
