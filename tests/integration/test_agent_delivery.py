"""The agent's ConfigMaps, and the marks on Pods, on a real API server with its controllers."""

from dataclasses import replace
from typing import Any

import pytest

from celeriac.api.names import DELETION_COST_ANNOTATION, DRAIN_ANNOTATION
from celeriac.cluster.agent_config import AgentConfigs, AgentRecord
from celeriac.cluster.client import Api
from celeriac.cluster.deployments import ensure_deployment
from celeriac.cluster.errors import Conflict, Forbidden, Invalid, NameTaken, NotFound
from celeriac.cluster.paths import CONFIG_MAPS, PODS
from celeriac.cluster.records import PodRecord
from celeriac.pool.broker import parse_broker_reference
from celeriac.pool.model import WorkerPool
from celeriac.resources import build_agent_config, build_deployment
from celeriac.resources.labels import owner_reference
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
    configs, manifest = AgentConfigs(api), agent(pool, 1)
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
    configs = AgentConfigs(api)
    await configs.ensure(manifest)
    pool.kubectl("delete", "configmap", name)
    await api.create(CONFIG_MAPS, pool.key.namespace, {**manifest, "data": {"__init__.py": "import os"}})
    with pytest.raises(NameTaken):
        await configs.ensure(manifest, look=True)


async def test_what_is_listed_for_removal_is_ours_for_certain_those_of_the_release_before_included(
    api: Api, pool: LivePool
) -> None:
    configs, old = AgentConfigs(api), f"{pool.key.name}-celeriac-agent-0123abcd"
    await configs.ensure(agent(pool, 1))
    owner = owner_reference(spec_of(pool))
    of_pool = {"namespace": pool.key.namespace, "labels": LABELS}
    for name, owners in ((old, [owner]), ("of-the-user", []), ("another-celeriac-agent-0123abcd", [owner])):
        metadata = {**of_pool, "name": name, "ownerReferences": owners}
        await api.create(
            CONFIG_MAPS, pool.key.namespace, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        )
    found = await listed(configs, pool, at_least=2)
    assert {record.key.name for record in found} == {old, agent(pool, 1)["metadata"]["name"]}
    for record in found:
        await configs.remove(replace(record, uid="uid-of-its-predecessor"))
    assert len(await names(api, pool)) == 4, "one that was made anew is not the one that was listed"
    for record in found:
        await configs.remove(record)
        await configs.remove(record)
    assert await names(api, pool) == {"of-the-user", "another-celeriac-agent-0123abcd"}


async def test_another_agent_is_a_rollout_of_a_running_pool_and_disabling_it_another(api: Api, pool: LivePool) -> None:
    spec = spec_of(pool)
    templates = []
    for each, source in (
        (spec, {"a.py": "VERSION = 1\n"}),
        (spec, {"a.py": "VERSION = 2\n"}),
        (replace(spec, agent=False), {"a.py": "VERSION = 2\n"}),
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
