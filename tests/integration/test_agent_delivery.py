"""The agent's ConfigMaps, and the marks on Pods, on a real API server with its controllers."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from celeriac.api.authority import Authority
from celeriac.api.digest import content_digest
from celeriac.api.names import DELETION_COST_ANNOTATION, DRAIN_ANNOTATION
from celeriac.cluster.agent_config import AgentConfigs, AgentRecord
from celeriac.cluster.client import Api
from celeriac.cluster.deployments import ensure_deployment
from celeriac.cluster.errors import Conflict, Forbidden, Invalid, NameTaken, NotFound
from celeriac.cluster.paths import CELERY_WORKER_POOLS, CONFIG_MAPS, PODS
from celeriac.cluster.records import PodRecord
from celeriac.pool.broker import parse_broker_reference
from celeriac.pool.model import Agent, WorkerPool
from celeriac.reconciling.agent_sweeper import AgentSweeper
from celeriac.resources import build_agent_config, build_deployment
from celeriac.resources.labels import owner_reference
from celeriac.watching.store import Store
from tests.integration.brokers import eventually
from tests.integration.live_pool import LABELS, LivePool
from tests.unit.resources.pools import SOLO

pytestmark = pytest.mark.integration


def spec_of(pool: LivePool) -> WorkerPool:
    return replace(SOLO, key=pool.key, uid=pool.uid)


def agent(pool: LivePool, version: int) -> dict[str, Any]:
    """The ConfigMap of some version of the agent."""
    return build_agent_config(pool.key.namespace, {"__init__.py": f"VERSION = {version}\n"})


async def names(api: Api, pool: LivePool) -> set[str]:
    """The ConfigMaps of the namespace, but for that of Kubernetes itself."""
    listed = await api.list_all(CONFIG_MAPS, pool.key.namespace)
    return {each["metadata"]["name"] for each in listed} - {"kube-root-ca.crt"}


async def listed(configs: AgentConfigs, pool: LivePool, *, at_least: int) -> list[AgentRecord]:
    """What the API server's cache knows, once it knows so many."""
    found: list[AgentRecord] = []

    async def there_are_enough() -> bool:
        found[:] = await configs.listed(pool.key.namespace)
        return len(found) >= at_least

    await eventually(there_are_enough)
    return found


async def pod(api: Api, pool: LivePool, name: str) -> PodRecord:
    """A Pod of the pool, which nobody runs here."""
    container = {"name": "worker", "image": "app:1"}
    spec = {"containers": [container], "automountServiceAccountToken": False}
    metadata = {"namespace": pool.key.namespace, "name": name, "labels": LABELS}
    body = await api.create(
        PODS, pool.key.namespace, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    )
    return PodRecord.from_body(body)


# The agent's ConfigMaps


async def test_the_agent_is_there_before_the_pods_that_mount_it_and_is_never_changed(api: Api, pool: LivePool) -> None:
    for configs in (AgentConfigs(api), AgentConfigs(api)):
        await configs.ensure(agent(pool, 1))
    made = await api.read(CONFIG_MAPS, pool.key.namespace, agent(pool, 1)["metadata"]["name"])
    assert made["data"] == {"__init__.py": "VERSION = 1\n"}
    change = {"data": {"__init__.py": "VERSION = 2\n"}}
    with pytest.raises(Invalid, match="immutable"):
        await api.merge_patch(CONFIG_MAPS, pool.key.namespace, made["metadata"]["name"], change, manager="somebody")


async def test_a_second_pool_of_a_namespace_asks_nothing_and_one_that_was_deleted_is_made_anew(
    api: Api, pool: LivePool
) -> None:
    configs, manifest = AgentConfigs(api, fresh_seconds=0), agent(pool, 1)
    await configs.ensure(manifest)
    pool.kubectl("delete", "configmap", manifest["metadata"]["name"])
    await configs.ensure(manifest)
    assert await names(api, pool) == set(), "trusted without a request"
    await configs.ensure(manifest, look=True)
    assert await names(api, pool) == {manifest["metadata"]["name"]}


async def test_a_config_map_of_somebody_else_is_neither_mounted_nor_overwritten(api: Api, pool: LivePool) -> None:
    manifest = agent(pool, 1)
    name = manifest["metadata"]["name"]
    pool.kubectl("create", "configmap", name, "--from-literal=__init__.py=import os")
    with pytest.raises(NameTaken, match="does not hold the operator's agent; delete it"):
        await AgentConfigs(api).ensure(manifest)
    pool.kubectl("delete", "configmap", name)
    configs = AgentConfigs(api, fresh_seconds=0)
    await configs.ensure(manifest)
    pool.kubectl("delete", "configmap", name)
    await api.create(CONFIG_MAPS, pool.key.namespace, {**manifest, "data": {"__init__.py": "import os"}})
    with pytest.raises(NameTaken):
        await configs.ensure(manifest, look=True)


async def test_of_many_pools_that_come_at_once_one_asks(api: Api, pool: LivePool) -> None:
    asked: list[tuple[str, int]] = []

    def note(verb: str, resource: str, status: int, seconds: float) -> None:
        asked.append((verb, status))

    manifest = agent(pool, 1)
    async with await Api.connect(str(pool.control_plane.kubeconfig), on_request=note) as counted:
        configs = AgentConfigs(counted)
        await asyncio.gather(*(configs.ensure(manifest) for _ in range(20)))
        assert asked == [("get", 404), ("create", 201)]
        await asyncio.gather(*(configs.ensure(manifest, look=True) for _ in range(20)))
    assert len(asked) == 2, "twenty Pods that wait are no reason to look twenty times"
    assert await names(api, pool) == {manifest["metadata"]["name"]}


def of_one_pool(pool: LivePool, name: str, data: dict[str, str], **metadata: Any) -> dict[str, Any]:
    """What release 0.1 made, named as if it held `data`."""
    full_name = f"{name}-celeriac-agent-{content_digest(data)[:8]}"
    owned = {"labels": LABELS, "ownerReferences": [owner_reference(spec_of(pool))]}
    metadata = {"namespace": pool.key.namespace, "name": full_name} | owned | metadata
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "immutable": True, "data": data}


async def test_only_what_is_ours_for_certain_is_removed_that_of_the_release_before_included(
    api: Api, pool: LivePool
) -> None:
    configs, namespace = AgentConfigs(api), pool.key.namespace
    shared, old = agent(pool, 1), of_one_pool(pool, "ml", {"celeriac_agent.py": "VERSION = 0"})
    strangers = [
        of_one_pool(pool, "ml", {"a": "no owner"}, ownerReferences=[]),
        of_one_pool(pool, "another", {"a": "named after another pool"}),
        of_one_pool(pool, "ml", {"a": "what it was named after"}) | {"data": {"a": "something else"}},
        of_one_pool(pool, "ml", {"a": "somebody may change it yet"}) | {"immutable": False},
        shared | {"metadata": {**shared["metadata"], "name": "a-copy"}},
        agent(pool, 2) | {"data": {"a": "not what it was named after"}},
    ]
    for body in (shared, old, *strangers):
        await api.create(CONFIG_MAPS, namespace, body)
    for record in await listed(configs, pool, at_least=5):
        assert not await configs.remove(replace(record, uid="uid-of-its-predecessor"))
        await configs.remove(record)
        assert not await configs.remove(record)
    assert await names(api, pool) == {body["metadata"]["name"] for body in strangers}


@pytest.mark.parametrize("moment", ["configmaps", "replicasets"])
async def test_a_pool_that_comes_while_its_agent_is_being_removed_finds_one(
    api: Api, pool: LivePool, moment: str
) -> None:
    """Whoever is first, the removal or the pool: there is one when both have ended."""
    manifest, comers = agent(pool, 1), list[asyncio.Task[None]]()

    def come(verb: str, resource: str, status: int, seconds: float) -> None:
        if resource == moment and removing.is_set() and not comers:
            comers.append(asyncio.create_task(configs.ensure(manifest)))

    removing = asyncio.Event()
    async with await Api.connect(str(pool.control_plane.kubeconfig), on_request=come) as watched:
        configs = AgentConfigs(watched)
        await configs.ensure(manifest)
        [record] = await listed(configs, pool, at_least=1)
        removing.set()
        await configs.remove(record)
        [comer] = comers
        await comer
    assert await names(api, pool) == {manifest["metadata"]["name"]}


async def test_what_an_undo_would_mount_stays_until_kubernetes_forgets_it(api: Api, pool: LivePool) -> None:
    configs, spec = AgentConfigs(api), spec_of(pool)
    files = [{"__init__.py": f"VERSION = {version}\n"} for version in range(2)]
    for version in files:
        await configs.ensure(build_agent_config(pool.key.namespace, version))
        await ensure_deployment(api, pool.uid, build_deployment(spec, agent=version))
        await pool.settled(api)
    old, current = (agent(pool, version)["metadata"]["name"] for version in range(2))
    [record] = [each for each in await listed(configs, pool, at_least=2) if each.key.name == old]
    assert not await configs.remove(record)
    pool.kubectl("rollout", "undo", "deployment/ml")
    undone = await pool.settled(api)
    assert (undone.agent, await names(api, pool)) == (old, {old, current})
    for image in ("app:2", "app:3", "app:4"):
        await ensure_deployment(api, pool.uid, build_deployment(replace(spec, image=image), agent=files[1]))
        await pool.settled(api)
    await eventually(lambda: configs.remove(record))
    assert await names(api, pool) == {current}


async def test_an_old_agent_goes_when_nobody_mounts_it_and_the_last_pool_takes_its_own_along(
    api: Api, pool: LivePool
) -> None:
    configs, store = AgentConfigs(api), Store(changed=lambda key: None)
    old, current = agent(pool, 1), agent(pool, 2)
    for manifest in (old, current):
        await configs.ensure(manifest)
    body = await api.read(CELERY_WORKER_POOLS, *pool.key)
    store.pool_event(body, deleted=False)
    authority, of_the_test = Authority(lambda: True, lambda: True), [pool.key.namespace]
    sweeper = AgentSweeper(configs, current["metadata"]["name"], store, authority, of_the_test)
    sweeping = asyncio.create_task(sweeper.run(0.05))

    async def left(*expected: dict[str, Any]) -> bool:
        return await names(api, pool) == {each["metadata"]["name"] for each in expected}

    await eventually(lambda: left(current))
    store.pool_event(body, deleted=True)
    await eventually(left)
    sweeping.cancel()


async def test_another_agent_is_a_rollout_of_a_running_pool_and_disabling_it_another(api: Api, pool: LivePool) -> None:
    spec = spec_of(pool)
    templates = []
    for each, source in (
        (spec, {"a.py": "VERSION = 1\n"}),
        (spec, {"a.py": "VERSION = 2\n"}),
        (replace(spec, agent=Agent.DISABLED), {"a.py": "VERSION = 2\n"}),
    ):
        if each.agent:
            await AgentConfigs(api).ensure(build_agent_config(pool.key.namespace, source))
        applied = await ensure_deployment(api, pool.uid, build_deployment(each, agent=source))
        templates.append(applied["spec"]["template"])
        assert applied["metadata"]["generation"] == len(templates)
    mounts = [[volume["name"] for volume in template["spec"]["volumes"]] for template in templates]
    assert mounts == [["celeriac-run", "celeriac-agent"], ["celeriac-run", "celeriac-agent"], ["celeriac-run"]]
    assert templates[0] != templates[1]
    assert parse_broker_reference(templates[0]["metadata"]["annotations"]["celeriac.dev/broker"]) == spec.broker
    assert "annotations" not in templates[2]["metadata"]


# Marks on Pods


async def test_a_mark_is_one_patch_and_taken_off_by_another(api: Api, pool: LivePool) -> None:
    record = await pod(api, pool, "ml-1")
    mark = {DRAIN_ANNOTATION: "f00d", DELETION_COST_ANNOTATION: "-1000"}
    marked = await api.patch_pod_annotations(pool.key.namespace, "ml-1", record.uid, mark)
    seen = PodRecord.from_body(marked)
    assert (seen.drain_token, seen.deletion_cost, seen.key) == ("f00d", -1000, pool.key)
    plain = await api.patch_pod_annotations(pool.key.namespace, "ml-1", record.uid, dict.fromkeys(mark))
    assert PodRecord.from_body(plain) == record


async def test_a_mark_meant_for_a_pod_that_is_gone_never_lands_on_its_successor(api: Api, pool: LivePool) -> None:
    first = await pod(api, pool, "ml-1")
    await api.delete(PODS, pool.key.namespace, "ml-1", uid=first.uid)
    with pytest.raises(NotFound):
        await api.patch_pod_annotations(pool.key.namespace, "ml-1", first.uid, {DRAIN_ANNOTATION: "f00d"})
    second = await pod(api, pool, "ml-1")
    with pytest.raises(Conflict):
        await api.patch_pod_annotations(pool.key.namespace, "ml-1", first.uid, {DRAIN_ANNOTATION: "f00d"})
    with pytest.raises(Conflict):
        await api.delete(PODS, pool.key.namespace, "ml-1", uid=first.uid)
    assert PodRecord.from_body(await api.read(PODS, pool.key.namespace, "ml-1")) == second


async def test_a_bad_annotation_is_told_from_a_pod_that_is_gone(api: Api, pool: LivePool) -> None:
    record = await pod(api, pool, "ml-1")
    with pytest.raises(Invalid, match="annotations"):
        await api.patch_pod_annotations(pool.key.namespace, "ml-1", record.uid, {"not a key": "x"})


async def test_whether_a_node_is_gone_can_be_asked_where_the_role_allows_it(api: Api, pool: LivePool) -> None:
    with pytest.raises(NotFound):
        await api.read_node("node-that-was-removed")
    async with await Api.connect(str(pool.control_plane.kubeconfig_for("jane"))) as jane:
        with pytest.raises(Forbidden, match="nodes"):
            await jane.read_node("node-that-was-removed")
