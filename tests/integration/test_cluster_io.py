"""Events, Secrets, lists, errors and credentials on a real API server."""

import asyncio
import json
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from celeriac.api.keys import PoolKey
from celeriac.cluster.client import Api
from celeriac.cluster.deployments import ensure_deployment
from celeriac.cluster.errors import (
    ApiError,
    BadConfiguration,
    Conflict,
    Forbidden,
    Invalid,
    NotHolder,
    SecretKeyMissing,
    Unavailable,
)
from celeriac.cluster.events import BURST, EventRecorder
from celeriac.cluster.paths import CONFIG_MAPS, DEPLOYMENTS, EVENTS, Resource
from tests.cluster.control_plane import ControlPlane
from tests.integration.brokers import eventually
from tests.integration.live_pool import LivePool

pytestmark = pytest.mark.integration


# Events


async def test_an_event_that_repeats_is_counted_in_one_object_that_describe_shows(api: Api, pool: LivePool) -> None:
    recorder = EventRecorder(api, "operator-1")
    for waiting in (3, 4, 5):
        message = f"the broker is away, {waiting} s\n" + "x" * 2000
        recorder.emit(pool.reference, "Warning", "ConnectionFailed", message, "Observe", dedupe="away")
        await recorder.settle()
    (event,) = await api.list_all(EVENTS, pool.key.namespace)
    assert event["series"]["count"] == 3
    assert event["message"].startswith("the broker is away, 3 s x")
    assert (len(event["message"].encode()), event["reportingComponent"]) == (1024, "celeriac.dev/operator")
    assert event["count"] == 3
    assert event["firstTimestamp"] <= event["lastTimestamp"]
    described = pool.kubectl("describe", "cwp", "ml")
    assert "ConnectionFailed" in described
    assert "x3 over" in described


async def test_describe_shows_events_in_the_order_in_which_they_happened(api: Api, pool: LivePool) -> None:
    """Eleven of one second, written beside each other, then one that was there before and comes again."""
    recorder = EventRecorder(api, "operator-1")
    recorder.emit(pool.reference, "Warning", "ConnectionFailed", "the broker is away")
    reasons = [f"Step{number}" for number in range(10)]
    for reason in reasons:
        recorder.emit(pool.reference, "Normal", reason, "one thing after the other")
    await recorder.settle(10)
    assert described_reasons(pool) == ["ConnectionFailed", *reasons]
    second = int(time.time())
    await asyncio.sleep(second + 1 - time.time())  # the API keeps whole seconds
    recorder.emit(pool.reference, "Warning", "ConnectionFailed", "the broker is away")
    await recorder.settle(10)
    assert described_reasons(pool) == [*reasons, "ConnectionFailed"]


def described_reasons(pool: LivePool) -> list[str]:
    """The reasons of the events as `kubectl describe` lists them."""
    _, _, events = pool.kubectl("describe", "cwp", "ml").partition("Events:")
    return [line.split()[1] for line in events.splitlines() if line.startswith(("  Normal", "  Warning"))]


async def test_a_chatty_pool_silences_neither_another_nor_its_own_warnings(api: Api, pool: LivePool) -> None:
    recorder = EventRecorder(api, "operator-1")
    for number in range(4 * BURST):
        recorder.emit(pool.reference, "Normal", "ScaledUp", f"event {number}")
    recorder.emit({**pool.reference, "uid": "another", "name": "other"}, "Normal", "ScaledUp", "event of another")
    recorder.emit(pool.reference, "Warning", "ConnectionFailed", "the broker is away")
    await recorder.settle(10)
    notes = [event["message"] for event in await api.list_all(EVENTS, pool.key.namespace)]
    assert len(notes) == BURST + 2
    assert {"event of another", "the broker is away"} <= set(notes)


async def test_an_event_that_cannot_be_written_disturbs_nobody_and_is_written_the_next_time(
    api: Api, pool: LivePool
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
    read = await api.read_secret_key(namespace, "broker", "url")
    assert (read.text, repr(read)) == ("redis://é", "SecretText()")
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


async def test_metadata_is_read_without_the_rest_and_where_there_is_none_the_list_is_empty(
    api: Api, namespace: str
) -> None:
    metadata = {"namespace": namespace, "name": "m", "labels": {"odd": "1"}}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": "value"}}
    made = await api.create(CONFIG_MAPS, namespace, body)

    async def in_the_cache() -> list[dict[str, Any]]:
        return await api.list_metadata(CONFIG_MAPS, namespace, "odd=1")

    await eventually(in_the_cache)
    found = [*await in_the_cache(), await api.read_metadata(CONFIG_MAPS, namespace, "m")]
    assert [(each["metadata"]["uid"], each.get("data")) for each in found] == 2 * [(made["metadata"]["uid"], None)]
    assert await api.list_metadata(CONFIG_MAPS, namespace, "odd=0") == []
    assert [await api.any_carries(CONFIG_MAPS, namespace, f"odd={odd}") for odd in (0, 1)] == [False, True]


async def test_a_cached_list_asks_etcd_nothing_and_is_as_new_as_what_is_known(
    api: Api, control_plane: ControlPlane, namespace: str
) -> None:
    """The API server counts the lists that it takes from etcd, for each kind: for others, too, who delete a namespace.

    Between two counts without such a neighbour there are none.
    """

    def from_etcd() -> float:
        """Of 30,000 lines those of one series; to parse all of them takes seconds."""
        lines = control_plane.kubectl("get", "--raw", "/metrics").splitlines()
        lists = [line for line in lines if line.startswith("apiserver_storage_list_total{")]
        return sum(float(line.split()[-1]) for line in lists if 'resource="podtemplates"' in line)

    def manifest(name: str) -> dict[str, Any]:
        metadata = {"namespace": namespace, "name": name, "labels": {"odd": "1"}}
        template = {"spec": {"containers": [{"name": "worker", "image": "app:1"}]}}
        return {"apiVersion": "v1", "kind": "PodTemplate", "metadata": metadata, "template": template}

    kind = Resource("v1", "podtemplates")
    made = [await api.create(kind, namespace, manifest(name)) for name in ("a", "b", "c")]
    newest = int(made[-1]["metadata"]["resourceVersion"])

    async def nothing_from_etcd() -> bool:
        before = from_etcd()
        for _ in range(5):
            listing = await api.list_cached(kind, namespace, "odd=1", newest)
            assert [each["metadata"]["name"] for each in listing] == ["a", "b", "c"]
            assert int(listing.version) >= newest
        return from_etcd() == before

    await eventually(nothing_from_etcd)
    ahead = await api.list_cached(kind, namespace, "odd=1", newest + 10**9)
    assert [each["metadata"]["name"] for each in ahead] == ["a", "b", "c"], "a cache that stays behind"


async def test_a_list_whose_page_token_expires_midway_is_read_again_as_a_whole(api: Api, pool: LivePool) -> None:
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
    assert sorted(event["message"] for event in listed) == ["event 0", "event 1", "event 2"]


# Errors, credentials, the fence


async def test_a_refusal_carries_the_words_of_the_api_server(
    api: Api, control_plane: ControlPlane, pool: LivePool
) -> None:
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
        token.write_text(control_plane.service_account_token(namespace))
        with pytest.raises(Forbidden, match=f"system:serviceaccount:{namespace}:default"):
            await api.read_secret_key(namespace, "broker", "url")


async def test_where_the_api_server_is_everybody_may_ask(control_plane: ControlPlane) -> None:
    async with await Api.connect(str(control_plane.kubeconfig_for("nobody"))) as nobody:
        assert nobody.hosts() == await nobody.advertised_hosts() == {"127.0.0.1"}


async def test_an_operator_without_its_lease_reads_but_cannot_write(api: Api, pool: LivePool) -> None:
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


@pytest.mark.parametrize("lasts", [1, 2])
async def test_a_lease_that_is_lost_while_a_request_looks_for_its_way_stops_it_at_the_socket(
    api: Api, pool: LivePool, lasts: int
) -> None:
    """As when the process is stopped while it connects: the Lease is asked again when there is a connection."""
    await ensure_deployment(api, pool.uid, pool.manifest())
    await pool.settled(api)
    scale = await api.read_scale(pool.key)
    answers = [True] * lasts
    api.connection.fence = lambda: bool(answers and answers.pop())
    with pytest.raises(NotHolder):
        await api.patch_scale(pool.key, 9, resource_version=scale.resource_version)
    assert answers == []
    assert (await api.read_scale(pool.key)).replicas == 0
    api.connection.fence = None
    assert (await api.patch_scale(pool.key, 2, resource_version=scale.resource_version)).replicas == 2


async def test_every_request_is_counted_by_verb_and_resource(control_plane: ControlPlane, pool: LivePool) -> None:
    counted: list[tuple[str, str, int]] = []

    def count(verb: str, resource: str, status: int, seconds: float) -> None:
        assert 0 < seconds < 10
        counted.append((verb, resource, status))

    async with await Api.connect(str(control_plane.kubeconfig), on_request=count) as api:
        await ensure_deployment(api, pool.uid, pool.manifest())
        with suppress(Conflict):
            await api.patch_scale(pool.key, 1, resource_version="1")
        await api.apply_pool_status(pool.key, pool.uid, {"replicas": 1})
        await api.list_all(DEPLOYMENTS, pool.key.namespace, "celeriac.dev/pool")
    assert counted == [
        ("get", "deployments", 404),
        ("apply", "deployments", 201),
        ("patch", "deployments/scale", 409),
        ("patch", "celeryworkerpools/status", 200),
        ("list", "deployments", 200),
    ]
