"""The CRD on a real API server: what it accepts and fills in, and what it refuses, in words that help."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from kubernetes import client, config

from celeriac.pool.parse import parse_pool
from tests.cluster.control_plane import ControlPlane
from tests.cluster.errors import ClusterError
from tests.cluster.process import wait_until
from tests.integration.crds import CRDS, install_crds, wait_established
from tests.unit.pool.bodies import Body, minimal, variants
from tests.unit.pool.test_broker_url import BAD as BAD_URLS
from tests.unit.pool.test_broker_url import GOOD as GOOD_URLS

pytestmark = pytest.mark.integration

CRD = CRDS / "celeryworkerpools.yaml"
GROUP, VERSION, PLURAL = "celeriac.dev", "v1alpha1", "celeryworkerpools"
PASSWORD = "hunter2"
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


@pytest.mark.parametrize("options", [(), ("--server-side",)], ids=["client-side", "server-side"])
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
        stored = json.loads(control_plane.kubectl("get", "crd", f"{PLURAL}.{group}", "-ojson"))
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
        "podSecurity": "Baseline",
    }


@pytest.mark.parametrize("body", [minimal(), *variants()], ids=["minimal", "full", "custom", "sentinel"])
def test_what_the_server_stores_is_what_the_operator_reads(pools: Pools, body: Body) -> None:
    pools.apply(body)
    stored = parse_pool(pools.get())
    written = parse_pool(body)
    for name in ("image", "app", "broker", "policy", "queues", "pool_type", "concurrency", "worker", "template"):
        assert getattr(stored, name) == getattr(written, name), name


@pytest.mark.parametrize("options", [(), ("--server-side",)], ids=["client-side", "server-side"])
def test_a_user_switches_the_target_by_applying_the_other(pools: Pools, options: tuple[str, ...]) -> None:
    for target in ({"queueWaitSeconds": 5}, {"tasksPerSlot": 2}, {"queueWaitSeconds": 0.5}):
        pools.apply(minimal(scaling={"target": target}), *options)
        assert pools.get()["spec"]["scaling"]["target"] == target


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


def broker(**fields: Any) -> Body:
    return {"broker": fields}


def scaling(**fields: Any) -> Body:
    return {"scaling": fields}


def scale_up(**fields: Any) -> Body:
    return {"scaling": {"behavior": {"scaleUp": fields}}}


def pod(**fields: Any) -> Body:
    return {"template": {"spec": fields}}


def argument(text: str) -> Body:
    return {"worker": {"extraArgs": ["--disable-prefetch", text]}}


SECRET = {"secretKeyRef": {"name": "broker", "key": "url"}}
CERTIFICATE_ALONE = {"certificateFrom": SECRET}
POLICY = {"type": "Pods", "value": 4, "periodSeconds": 60}

BAD: list[tuple[Body, str]] = [
    ({"image": None}, "spec.image: Required"),
    ({"image": "app:1 "}, "image must not hold spaces"),
    ({"app": None}, "spec.app: Required"),
    ({"app": "-A proj"}, "app must be what celery -A takes"),
    ({"broker": None}, "spec.broker: Required"),
    # how tasks run
    ({"pool": "processes"}, 'supported values: "solo", "prefork", "threads", "gevent", "eventlet", "custom"'),
    ({"pool": "custom"}, "set both (customPool: my.module:TaskPool) or neither"),
    ({"customPool": "my.pool:TaskPool"}, "set both (customPool: my.module:TaskPool) or neither"),
    ({"pool": "custom", "customPool": "TaskPool"}, "customPool must name a class as module:Class"),
    ({"pool": "solo", "concurrency": 4}, "concurrency must be 1 or absent with pool: solo"),
    ({"concurrency": 0}, "spec.concurrency in body should be greater than or equal to 1"),
    ({"concurrency": 10_001}, "spec.concurrency in body should be less than or equal to 10000"),
    ({"queues": []}, "spec.queues in body should have at least 1 items"),
    ({"queues": ["a", "b", "a"]}, 'spec.queues[2]: Duplicate value: "a"'),
    ({"queues": ["a,b"]}, "give each queue its own entry of the list"),
    ({"queues": [f"q{n}" for n in range(51)]}, "spec.queues: Too many: 51: must have at most 50 items"),
    ({"launcher": []}, "spec.launcher in body should have at least 1 items"),
    # broker
    (broker(), "exactly one of url and urlFrom"),
    (broker(url="redis://redis", urlFrom=SECRET), "exactly one of url and urlFrom"),
    (broker(urlFrom={"secretKeyRef": {"name": "broker"}}), "spec.broker.urlFrom.secretKeyRef.key: Required"),
    (broker(url=f"redis://:{PASSWORD}@redis:6379/0"), "put it in a Secret and name that in broker.urlFrom"),
    (broker(url=f"rediss://user:{PASSWORD}@redis/0"), "put it in a Secret and name that in broker.urlFrom"),
    (broker(url=f"redis://redis/0?password={PASSWORD}"), "put it in a Secret and name that in broker.urlFrom"),
    (broker(url=f"redis+socket://:{PASSWORD}@/run/redis.sock"), "put it in a Secret and name that in broker.urlFrom"),
    (broker(url=f"sentinel://:{PASSWORD}@a", sentinelMaster="m"), "put it in a Secret and name that in broker.urlFrom"),
    (broker(url="amqp://rabbit"), "broker.url must begin with redis://, rediss://, sentinel:// or redis+socket://"),
    (broker(url="redis-cluster://redis:6379"), "names a Redis Cluster, for which Celery (kombu) has no transport"),
    (broker(url="rediss+cluster://redis:6379"), "names a Redis Cluster, for which Celery (kombu) has no transport"),
    (broker(url="redis://a;redis://b"), "broker.url must name one Redis"),
    (broker(url="redis:///0"), "broker.url must look like redis://HOST:PORT/DB"),
    (broker(url="redis://redis/prod"), "DB a number"),
    (broker(url="redis://redis /0"), "broker.url must not hold spaces"),
    (broker(url="redis+socket://run/redis.sock"), "the socket's absolute path"),
    (broker(url="sentinel://a:26379;b:26379", sentinelMaster="m"), "each host with its own sentinel://"),
    (broker(url="sentinel://a:26379"), "broker.sentinelMaster is missing"),
    (broker(url="redis://a", sentinelMaster="m"), "broker.sentinelMaster goes with a sentinel:// url only"),
    (broker(url="redis://a", tls={"caFrom": SECRET}), "begin broker.url with rediss://, or drop tls"),
    (broker(url="rediss://a", tls={}), "broker.tls is empty"),
    (broker(url="rediss://a", tls=CERTIFICATE_ALONE), "certificateFrom and privateKeyFrom together"),
    (broker(url="redis://a", prioritySteps=[3, 6]), "broker.prioritySteps must ascend from 0"),
    (broker(url="redis://a", prioritySteps=[0, 6, 3]), "broker.prioritySteps must ascend from 0"),
    (broker(url="redis://a", prioritySteps=[0, 3, 3]), "broker.prioritySteps must ascend from 0"),
    (broker(url="redis://a", separator=""), "spec.broker.separator in body should be at least 1 chars long"),
    # scaling
    ({"replicas": -1}, "spec.replicas in body should be greater than or equal to 0"),
    (scaling(minReplicas=3, maxReplicas=2), "scaling.minReplicas must not be above scaling.maxReplicas"),
    (scaling(minReplicas=21), "scaling.minReplicas must not be above scaling.maxReplicas (20 where absent)"),
    (scaling(maxReplicas=0), "spec.scaling.maxReplicas in body should be greater than or equal to 1"),
    (scaling(target={}), "scaling.target needs exactly one of queueWaitSeconds and tasksPerSlot"),
    (scaling(target={"queueWaitSeconds": 1, "tasksPerSlot": 1}), "scaling.target needs exactly one of"),
    (scaling(target={"queueWaitSeconds": 0}), "scaling.target.queueWaitSeconds must be at least 0.1"),
    (scaling(target={"queueWaitSeconds": 0.05}), "scaling.target.queueWaitSeconds must be at least 0.1"),
    (scaling(target={"tasksPerSlot": 0}), "scaling.target.tasksPerSlot must be at least 0.01"),
    (scaling(fallback={"afterSeconds": 5}), "spec.scaling.fallback.replicas: Required"),
    (scaling(fallback={"replicas": 21}), "scaling.fallback.replicas must not be above scaling.maxReplicas"),
    (scaling(minReplicas=2, fallback={"replicas": 1}), "scaling.fallback.replicas must not be below"),
    (scaling(mode="Off"), 'supported values: "Auto", "DryRun", "Paused"'),
    (
        scale_up(stabilizationWindowSeconds=3601),
        "stabilizationWindowSeconds in body should be less than or equal to 3600",
    ),
    (
        scale_up(stabilizationWindowSeconds=-1),
        "stabilizationWindowSeconds in body should be greater than or equal to 0",
    ),
    (scale_up(tolerance=-0.1), "tolerance in body should be greater than or equal to 0"),
    (scale_up(tolerance="-100m"), "scaleUp.tolerance in body should match"),
    (scale_up(tolerance={"a": 1}), "scaleUp.tolerance: Too many"),
    (scale_up(policies=[]), "scaleUp.policies in body should have at least 1 items"),
    (
        scale_up(policies=[{**POLICY, "periodSeconds": 1801}]),
        "periodSeconds in body should be less than or equal to 1800",
    ),
    (scale_up(policies=[{**POLICY, "periodSeconds": 0}]), "periodSeconds in body should be greater than or equal to 1"),
    (scale_up(policies=[{**POLICY, "value": 0}]), "value in body should be greater than or equal to 1"),
    (scale_up(policies=[{"type": "Pods", "value": 1}]), "periodSeconds: Required"),
    (scale_up(selectPolicy="Average"), 'supported values: "Max", "Min", "Disabled"'),
    # worker
    ({"pool": "threads", "worker": {"maxTasksPerChild": 1}}, "worker.maxTasksPerChild works only with pool: prefork"),
    ({"pool": "gevent", "worker": {"maxMemoryPerChildKiB": 9}}, "set template.spec.resources.limits.memory"),
    ({"pool": "gevent", "worker": {"softTimeLimitSeconds": 9}}, "Celery ignores it elsewhere: drop it, or use prefork"),
    ({"pool": "solo", "worker": {"timeLimitSeconds": 9}}, "Celery ignores it elsewhere: drop it, or use prefork"),
    ({"worker": {"softTimeLimitSeconds": 60, "timeLimitSeconds": 60}}, "must be below worker.timeLimitSeconds"),
    ({"worker": {"logLevel": "TRACE"}}, 'supported values: "DEBUG", "INFO"'),
    ({"worker": {"prefetchMultiplier": 0}}, "prefetchMultiplier in body should be greater than or equal to 1"),
    (argument("-A"), "set spec.app"),
    (argument("--app=proj"), "set spec.app"),
    (argument("-b"), "set spec.broker"),
    (argument("--broker=redis://redis"), "set spec.broker"),
    (argument("-Qother"), "set spec.queues"),
    (argument("--queues"), "set spec.queues"),
    (argument("-X"), "leave the queue out of spec.queues"),
    (argument("-Psolo"), "set spec.pool"),
    (argument("--pool=solo"), "set spec.pool"),
    (argument("-c4"), "set spec.concurrency"),
    (argument("-Ec4"), "set spec.concurrency"),
    (argument("--concurrency=4"), "set spec.concurrency"),
    (argument("--autoscale=10,1"), "set spec.concurrency and spec.scaling"),
    (argument("-nworker"), "each worker is named after its pod"),
    (argument("--hostname=w1"), "each worker is named after its pod"),
    (argument("-B"), "run celery beat on its own, with one replica"),
    (argument("-EB"), "run celery beat on its own, with one replica"),
    (argument("--beat"), "run celery beat on its own, with one replica"),
    (argument("-D"), "stays in the foreground"),
    (argument("--detach"), "stays in the foreground"),
    (argument("--pidfile=/x"), "extraArgs must not hold --pidfile"),
    (argument("--without-heartbeat"), "heartbeats are how a worker is seen"),
    (argument("--purge"), "run celery purge by hand"),
    (argument("-E"), "set spec.worker.events"),
    (argument("-lDEBUG"), "set spec.worker.logLevel"),
    (argument("--loglevel=DEBUG"), "set spec.worker.logLevel"),
    (argument("--prefetch-multiplier=1"), "set spec.worker.prefetchMultiplier"),
    (argument("--max-tasks-per-child=1"), "set spec.worker.maxTasksPerChild"),
    (argument("--max-memory-per-child=1"), "set spec.worker.maxMemoryPerChildKiB"),
    (argument("--soft-time-limit=1"), "set spec.worker.softTimeLimitSeconds"),
    (argument("--time-limit=1"), "set spec.worker.timeLimitSeconds"),
    (argument("--"), "put them into the app's configuration"),
    ({"drain": {"timeoutSeconds": 0}}, "spec.drain.timeoutSeconds in body should be greater than or equal to 1"),
    # pods
    ({"podSecurity": "Privileged"}, 'supported values: "Baseline", "Restricted"'),
    ({"template": {"metadata": {"labels": {"celeriac.dev/pool": "x"}}}}, "choose another prefix"),
    ({"template": {"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}}, "use app.kubernetes.io/component"),
    ({"template": {"metadata": {"annotations": {"celeriac.dev/x": "x"}}}}, "choose another prefix"),
    (pod(env=[{"name": "CELERY_BROKER_URL"}]), "set spec.broker"),
    (pod(env=[{"name": "CELERY_BROKER_READ_URL"}]), "set spec.broker"),
    (pod(env=[{"name": "CELERY_CUSTOM_WORKER_POOL"}]), "set spec.customPool"),
    (pod(env=[{"name": "CELERIAC_RUN_DIR"}]), "env must not set names that begin with CELERIAC_"),
    (pod(env=[{"name": "REMAP_SIGTERM", "value": "SIGQUIT"}]), "running tasks would be lost when a pod stops"),
    (pod(env=[{"name": "A"}, {"name": "A"}]), 'spec.template.spec.env[1]: Duplicate value: {"name":"A"}'),
    (pod(volumeMounts=[{"name": "x", "mountPath": "/run/celeriac"}]), "choose another path"),
    (pod(volumes=[{"name": "celeriac-run"}]), "choose another name"),
    (pod(sidecars=[{"name": "worker", "image": "x"}]), "choose another name"),
    (pod(sidecars=[{"name": "x", "image": "x", "restartPolicy": "Always"}]), "it is always Always"),
    (pod(initContainers=[{"name": "x", "image": "x", "restartPolicy": "Always"}]), "template.spec.sidecars"),
    (pod(resources={"limits": {"memory": "1GB"}}), "limits.memory in body should match"),
    (pod(resources={"limits": {"cpu": -1}}), "limits.cpu in body should be greater than or equal to 0"),
]


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
