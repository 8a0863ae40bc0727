"""What the operator reads from and writes to a real API server, with the real controllers behind it."""

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from celeriac.cluster.client import MANAGER, SCALE_MANAGER, Api
from celeriac.cluster.deployments import create_deployment_at_zero, ensure_deployment
from celeriac.cluster.errors import (
    ApiError,
    BadConfiguration,
    Conflict,
    Forbidden,
    Invalid,
    NameTaken,
    NotFound,
    NotHolder,
    SecretKeyMissing,
    Unavailable,
)
from celeriac.cluster.events import BURST, EventRecorder
from celeriac.cluster.paths import CONFIG_MAPS, EVENTS, PODS, Resource
from celeriac.cluster.records import DeploymentRecord
from celeriac.pool.model import PoolKey

from tests.cluster.control_plane import ControlPlane

pytestmark = pytest.mark.integration

CRDS = Path(__file__).parents[2] / "crds"
REPLICA_SETS = Resource("apps/v1", "replicasets")
LABELS = {"celeriac.dev/pool": "ml"}


@pytest.fixture(scope="module")
def pools(control_plane: ControlPlane) -> ControlPlane:
    """The control plane, with our API."""
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    established = '--for=jsonpath={.status.conditions[?(@.type=="Established")].status}=True'
    control_plane.kubectl("wait", established, "crd/celeryworkerpools.celeriac.dev", "--timeout=30s")
    return control_plane


@pytest.fixture
async def api(control_plane: ControlPlane) -> AsyncIterator[Api]:
    async with await Api.connect(str(control_plane.kubeconfig)) as connected:
        yield connected


class Pool:
    """The pool `ml` of one namespace, and the manifest of its Deployment."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self.control_plane = control_plane
        self.key = PoolKey(namespace, "ml")
        self.uid = self.create()

    def create(self) -> str:
        spec = {"image": "app:1", "app": "app", "broker": {"url": "redis://redis:6379/0"}}
        body = {"apiVersion": "celeriac.dev/v1alpha1", "kind": "CeleryWorkerPool", "spec": spec}
        made = self.kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps({**body, "metadata": {"name": "ml"}}))
        return str(json.loads(made)["metadata"]["uid"])

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.control_plane.kubectl(f"--namespace={self.key.namespace}", *arguments, stdin=stdin)

    @property
    def reference(self) -> dict[str, str]:
        identity = {"namespace": self.key.namespace, "name": "ml", "uid": self.uid}
        return {"apiVersion": "celeriac.dev/v1alpha1", "kind": "CeleryWorkerPool", **identity}

    def manifest(self, image: str = "app:1") -> dict[str, Any]:
        owner = {name: self.reference[name] for name in ("apiVersion", "kind", "name", "uid")}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {**self.key._asdict(), "labels": LABELS, "ownerReferences": [{**owner, "controller": True}]},
            "spec": {
                "selector": {"matchLabels": LABELS},
                "template": {
                    "metadata": {"labels": LABELS},
                    "spec": {"containers": [{"name": "worker", "image": image}]},
                },
            },
        }

    async def settled(self, api: Api) -> DeploymentRecord:
        """The Deployment, once its controller has seen all that was written."""
        body = await api.read_deployment(self.key)
        generation = f"--for=jsonpath={{.status.observedGeneration}}={body['metadata']['generation']}"
        await asyncio.to_thread(self.kubectl, "wait", generation, "deployment/ml", "--timeout=30s")
        return DeploymentRecord.from_body(await api.read_deployment(self.key))

    async def never_had_a_pod(self, api: Api) -> bool:
        """Whether no ReplicaSet ever wanted one: each change of its spec counts its generation up, of replicas too."""
        sets = await api.list_all(REPLICA_SETS, self.key.namespace)
        never_changed = [one["spec"]["replicas"] == 0 and one["metadata"]["generation"] == 1 for one in sets]
        return bool(sets) and all(never_changed) and not await api.list_all(PODS, self.key.namespace)


@pytest.fixture
def pool(pools: ControlPlane, namespace: str) -> Pool:
    return Pool(pools, namespace)


def owners_of_replicas(deployment: dict[str, Any]) -> set[str]:
    entries = deployment["metadata"]["managedFields"]
    return {entry["manager"] for entry in entries if "f:replicas" in entry["fieldsV1"].get("f:spec", {})}


# Deployments


async def test_a_pool_created_at_zero_never_has_a_pod(api: Api, pool: Pool) -> None:
    created = await ensure_deployment(api, pool.uid, pool.manifest())
    assert created["spec"]["replicas"] == 0
    record = await pool.settled(api)
    assert (record.spec_replicas, record.replicas, record.controller_uid) == (0, 0, pool.uid)
    assert not record.rollout_in_progress
    assert owners_of_replicas(created) == {SCALE_MANAGER}
    assert await pool.never_had_a_pod(api)


class Killed(BaseException):
    """The operator ends here, as by SIGKILL: its request has reached the API server, nothing follows."""


async def die_after_write(pool: Pool, number: int) -> None:
    """Create the Deployment with an operator that is killed after the given write."""
    writes = 0

    def count(verb: str, resource: str, status: int, seconds: float) -> None:
        nonlocal writes
        writes += verb == "apply"
        if writes == number:
            raise Killed

    async with await Api.connect(str(pool.control_plane.kubeconfig), on_request=count) as doomed:
        with pytest.raises(Killed):
            await ensure_deployment(doomed, pool.uid, pool.manifest())


@pytest.mark.parametrize("writes", [1, 2, 3])
async def test_an_operator_killed_while_it_creates_a_pool_goes_on_where_it_was(
    api: Api, pool: Pool, writes: int
) -> None:
    await die_after_write(pool, writes)
    resumed = await ensure_deployment(api, pool.uid, pool.manifest())
    assert resumed["spec"]["replicas"] == 0
    assert owners_of_replicas(resumed) == {SCALE_MANAGER}
    await pool.settled(api)
    assert await pool.never_had_a_pod(api)


@pytest.mark.parametrize("writes", [1, 2])
async def test_a_half_made_deployment_that_somebody_scaled_keeps_its_scale(api: Api, pool: Pool, writes: int) -> None:
    await die_after_write(pool, writes)
    pool.kubectl("scale", "deployment/ml", "--replicas=3")
    resumed = await ensure_deployment(api, pool.uid, pool.manifest())
    assert resumed["spec"]["replicas"] == 3
    assert MANAGER not in owners_of_replicas(resumed)


async def test_a_pool_scaled_to_7_keeps_7_while_it_gets_a_new_image(api: Api, pool: Pool) -> None:
    await ensure_deployment(api, pool.uid, pool.manifest())
    await pool.settled(api)
    scale = await api.read_scale(pool.key)
    assert (await api.patch_scale(pool.key, 7, resource_version=scale.resource_version)).replicas == 7
    changed = await ensure_deployment(api, pool.uid, pool.manifest("app:2"))
    assert changed["spec"]["replicas"] == 7
    assert changed["spec"]["template"]["spec"]["containers"][0]["image"] == "app:2"
    record = await pool.settled(api)
    assert (record.spec_replicas, record.rollout_in_progress) == (7, True)


async def test_a_deployment_of_somebody_else_is_not_adopted(api: Api, pool: Pool) -> None:
    pool.kubectl("create", "deployment", "ml", "--image=nginx", "--replicas=0")
    await pool.settled(api)
    with pytest.raises(NameTaken, match="give the pool another name"):
        await ensure_deployment(api, pool.uid, pool.manifest())
    with pytest.raises((Conflict, Invalid)):  # it appeared after we had looked
        await create_deployment_at_zero(api, pool.manifest())
    foreign = await api.read_deployment(pool.key)
    assert "ownerReferences" not in foreign["metadata"]
    assert foreign["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx"


async def test_an_apply_that_names_a_uid_never_creates_nor_touches_another_object(api: Api, pool: Pool) -> None:
    manifest = pool.manifest()
    manifest["metadata"]["uid"] = (await ensure_deployment(api, pool.uid, pool.manifest()))["metadata"]["uid"]
    pool.kubectl("delete", "deployment", "ml")
    with pytest.raises(Conflict):
        await api.apply(manifest, manager=MANAGER)
    with pytest.raises(NotFound):
        await api.read_deployment(pool.key)
    pool.kubectl("create", "deployment", "ml", "--image=nginx", "--replicas=0")
    with pytest.raises(Conflict):
        await api.apply(manifest, manager=MANAGER)


async def test_a_stale_decision_does_not_scale(api: Api, pool: Pool) -> None:
    await ensure_deployment(api, pool.uid, pool.manifest())
    await pool.settled(api)
    seen = await api.read_scale(pool.key)
    pool.kubectl("scale", "deployment/ml", "--replicas=2")
    with pytest.raises(Conflict):
        await api.patch_scale(pool.key, 9, resource_version=seen.resource_version)
    assert (await api.read_scale(pool.key)).replicas == 2


# Status


async def test_the_status_of_a_deleted_pool_is_not_resurrected(api: Api, pool: Pool) -> None:
    await api.apply_pool_status(pool.key, pool.uid, {"replicas": 12})
    assert pool.kubectl("get", "cwp", "ml", "-o", "jsonpath={.status.replicas}") == "12"
    pool.kubectl("delete", "cwp", "ml")
    with pytest.raises((NotFound, Conflict)):
        await api.apply_pool_status(pool.key, pool.uid, {"replicas": 13})
    assert await api.list_pools(pool.key.namespace) == []
    pool.create()
    with pytest.raises(Conflict):
        await api.apply_pool_status(pool.key, pool.uid, {"replicas": 14})
    (made_anew,) = await api.list_pools(pool.key.namespace)
    assert "replicas" not in made_anew.get("status", {})


async def test_a_status_that_the_schema_refuses_names_the_field(api: Api, pool: Pool) -> None:
    with pytest.raises(Invalid) as refused:
        await api.apply_pool_status(pool.key, pool.uid, {"replicas": "many"})
    assert "status.replicas" in refused.value.fields


async def test_a_figure_that_is_no_longer_reported_leaves_the_status(api: Api, pool: Pool) -> None:
    await api.apply_pool_status(pool.key, pool.uid, {"replicas": 12, "idleSince": "2026-01-01T00:00:00Z"})
    await api.apply_pool_status(pool.key, pool.uid, {"replicas": 0})
    assert json.loads(pool.kubectl("get", "cwp", "ml", "-o", "jsonpath={.status}")) == {"replicas": 0}


# Events


async def test_an_event_that_repeats_is_counted_in_one_object_that_describe_shows(api: Api, pool: Pool) -> None:
    recorder = EventRecorder(api, "operator-1")
    for waiting in (3, 4, 5):
        message = f"the broker is away, {waiting} s\n" + "x" * 2000
        recorder.emit(pool.reference, "Warning", "ConnectionFailed", message, "Observe", dedupe="away")
        await recorder.settle()
    (event,) = await api.list_all(EVENTS, pool.key.namespace)
    assert event["series"]["count"] == 3
    assert event["note"].startswith("the broker is away, 3 s x")
    assert (len(event["note"].encode()), event["reportingController"]) == (1024, "celeriac.dev/operator")
    described = pool.kubectl("describe", "cwp", "ml")
    assert "ConnectionFailed" in described
    assert "x3 over" in described


async def test_a_chatty_pool_does_not_flood_the_api_server_and_silences_no_other(api: Api, pool: Pool) -> None:
    recorder = EventRecorder(api, "operator-1")
    for number in range(4 * BURST):
        recorder.emit(pool.reference, "Normal", "ScaledUp", f"event {number}")
    recorder.emit({**pool.reference, "uid": "another", "name": "other"}, "Normal", "ScaledUp", "event of another")
    await recorder.settle(10)
    notes = [event["note"] for event in await api.list_all(EVENTS, pool.key.namespace)]
    assert len(notes) == BURST + 1
    assert "event of another" in notes


async def test_an_event_that_cannot_be_written_disturbs_nobody_and_is_written_the_next_time(
    api: Api, pool: Pool
) -> None:
    recorder = EventRecorder(api, "operator-1")
    api.connection.fence = lambda: False
    recorder.emit(pool.reference, "Normal", "ScaledUp", "from 0 to 3 replicas")
    await recorder.settle()
    api.connection.fence = None
    recorder.emit(pool.reference, "Normal", "ScaledUp", "from 0 to 3 replicas")
    await recorder.settle()
    (event,) = await api.list_all(EVENTS, pool.key.namespace)
    assert "series" not in event


# Secrets and lists


async def test_a_secret_is_read_as_text_and_what_is_missing_is_named(
    api: Api, control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.kubectl(f"-n{namespace}", "create", "secret", "generic", "broker", "--from-literal=url=redis://é")
    assert await api.read_secret_key(namespace, "broker", "url") == "redis://é"
    with pytest.raises(SecretKeyMissing, match=f"Secret {namespace}/broker has no key 'uri'") as no_key:
        await api.read_secret_key(namespace, "broker", "uri")
    assert no_key.value.secret_exists
    with pytest.raises(SecretKeyMissing, match=f"Secret {namespace}/brocker does not exist") as no_secret:
        await api.read_secret_key(namespace, "brocker", "url")
    assert not no_secret.value.secret_exists
    binary = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "binary"}, "data": {"url": "//79"}}
    control_plane.kubectl(f"-n{namespace}", "apply", "-f", "-", stdin=json.dumps(binary))
    with pytest.raises(Invalid, match="not UTF-8"):
        await api.read_secret_key(namespace, "binary", "url")


async def test_a_list_longer_than_a_page_is_complete_and_selected_by_label(api: Api, namespace: str) -> None:
    for number in range(5):
        metadata = {"namespace": namespace, "name": f"m{number}", "labels": {"odd": str(number % 2)}}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        await api.create(CONFIG_MAPS, namespace, body)
    listed = await api.list_all(CONFIG_MAPS, namespace, "odd in (0, 1)", page_size=2)
    assert [item["metadata"]["name"] for item in listed] == ["m0", "m1", "m2", "m3", "m4"]
    everywhere = await api.list_all(CONFIG_MAPS, None, "odd=1", page_size=1)
    assert [item["metadata"]["name"] for item in everywhere if item["metadata"]["namespace"] == namespace] == [
        "m1",
        "m3",
    ]


async def test_a_list_whose_page_token_expires_midway_is_read_again_as_a_whole(api: Api, pool: Pool) -> None:
    """Of Events, because the API server pages other kinds out of its own memory, which forgets later than etcd."""
    recorder = EventRecorder(api, "operator-1")
    for number in range(3):
        recorder.emit(pool.reference, "Normal", "ScaledUp", f"event {number}")
    await recorder.settle(10)
    statuses: list[int] = []

    def expire(verb: str, resource: str, status: int, seconds: float) -> None:
        """After the first page: somebody writes, and etcd forgets what was before."""
        if not statuses:
            made = json.loads(pool.kubectl("create", "configmap", "made-meanwhile", "-o", "json"))
            compaction = json.dumps({"revision": made["metadata"]["resourceVersion"], "physical": True})
            url = f"{pool.control_plane.addresses.etcd_url}/v3/kv/compaction"
            urllib.request.urlopen(url, compaction.encode(), timeout=10).close()
        statuses.append(status)

    async with await Api.connect(str(pool.control_plane.kubeconfig), on_request=expire) as reader:
        listed = await reader.list_all(EVENTS, pool.key.namespace, page_size=2)
    assert statuses == [200, 410, 200]
    assert sorted(event["note"] for event in listed) == ["event 0", "event 1", "event 2"]


# Errors, credentials, the fence


async def test_a_refusal_carries_the_words_of_the_api_server(api: Api, control_plane: ControlPlane, pool: Pool) -> None:
    manifest = pool.manifest()
    manifest["spec"]["template"]["metadata"]["labels"] = {"celeriac.dev/pool": "other"}
    with pytest.raises(Invalid, match="`selector` does not match template `labels`") as invalid:
        await ensure_deployment(api, pool.uid, manifest)
    assert (invalid.value.status, invalid.value.reason) == (422, "Invalid")
    async with await Api.connect(str(control_plane.kubeconfig_for("jane"))) as jane:
        with pytest.raises(Forbidden, match='User "jane" cannot get resource "deployments"') as forbidden:
            await jane.read_deployment(pool.key)
    assert forbidden.value.reason == "Forbidden"


async def test_an_api_server_that_is_silent_or_away_is_unavailable_within_the_timeout(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    silent = await asyncio.start_server(swallow, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    elsewhere = tmp_path / "kubeconfig"
    elsewhere.write_text(control_plane.kubeconfig.read_text().replace(control_plane.url, url))
    async with await Api.connect(str(elsewhere), timeout_seconds=0.3) as api:
        with pytest.raises(Unavailable, match=r"no answer from the API server within 0\.3 s"):
            await api.read_scale(PoolKey("default", "ml"))
        silent.close()
        with pytest.raises(Unavailable) as refused:
            await api.read_scale(PoolKey("default", "ml"))
    assert refused.value.reason == "ConnectionFailed"


async def test_configuration_that_cannot_be_used_says_which_and_how_to_cure_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(BadConfiguration, match="set KUBECONFIG"):
        await Api.connect()
    broken = tmp_path / "broken"
    broken.write_text("clusters: [")
    for path in (broken, tmp_path / "absent"):
        with pytest.raises(BadConfiguration, match=str(path)):
            await Api.connect(str(path))


async def test_a_service_account_token_that_was_replaced_is_read_again(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text("expired")
    host, port = control_plane.url.removeprefix("https://").split(":")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    loader = "kubernetes.aio.config.incluster_config"
    monkeypatch.setattr(f"{loader}.SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(f"{loader}.SERVICE_CERT_FILENAME", str(control_plane.pki.ca))
    async with await Api.connect() as api:
        with pytest.raises(ApiError) as refused:
            await api.read_secret_key(namespace, "broker", "url")
        assert refused.value.status == 401
        token.write_text(control_plane.kubectl("create", "token", "default", f"--namespace={namespace}").strip())
        with pytest.raises(Forbidden, match=f"system:serviceaccount:{namespace}:default"):
            await api.read_secret_key(namespace, "broker", "url")


async def test_an_operator_without_its_lease_reads_but_cannot_write(api: Api, pool: Pool) -> None:
    await ensure_deployment(api, pool.uid, pool.manifest())
    scale = await api.read_scale(pool.key)
    api.connection.fence = lambda: False
    for write in (
        api.patch_scale(pool.key, 9, resource_version=scale.resource_version),
        api.apply_pool_status(pool.key, pool.uid, {"replicas": 1}),
        ensure_deployment(api, pool.uid, pool.manifest("app:2")),
    ):
        with pytest.raises(NotHolder):
            await write
    untouched = await api.read_deployment(pool.key)
    assert untouched["spec"]["replicas"] == 0
    assert untouched["spec"]["template"]["spec"]["containers"][0]["image"] == "app:1"


async def test_every_request_is_counted_by_verb_and_resource(control_plane: ControlPlane, pool: Pool) -> None:
    counted: list[tuple[str, str, int]] = []

    def count(verb: str, resource: str, status: int, seconds: float) -> None:
        assert 0 < seconds < 10
        counted.append((verb, resource, status))

    async with await Api.connect(str(control_plane.kubeconfig), on_request=count) as api:
        await ensure_deployment(api, pool.uid, pool.manifest())
        with suppress(Conflict):
            await api.patch_scale(pool.key, 1, resource_version="1")
        await api.apply_pool_status(pool.key, pool.uid, {"replicas": 1})
        await api.list_deployments(pool.key.namespace, "celeriac.dev/pool")
    assert counted == [
        ("get", "deployments", 404),
        ("apply", "deployments", 201),
        ("apply", "deployments", 200),
        ("apply", "deployments", 200),
        ("patch", "deployments/scale", 409),
        ("patch", "celeryworkerpools/status", 200),
        ("list", "deployments", 200),
    ]
