"""The agent's ConfigMaps, and the marks on Pods, on a real API server with its controllers."""

from dataclasses import replace
from typing import Any

import pytest

from celeriac.api.names import DELETION_COST_ANNOTATION, DRAIN_ANNOTATION
from celeriac.cluster.agent_config import KEPT, ensure_agent_config, prune_agent_configs
from celeriac.cluster.client import Api
from celeriac.cluster.deployments import ensure_deployment
from celeriac.cluster.errors import Conflict, Forbidden, Invalid, NameTaken, NotFound, StillGoing
from celeriac.cluster.paths import CONFIG_MAPS, PODS
from celeriac.cluster.records import PodRecord
from celeriac.pool.broker import parse_broker_reference
from celeriac.pool.model import WorkerPool
from celeriac.resources import build_agent_config, build_deployment
from tests.integration.live_pool import LABELS, LivePool
from tests.unit.resources.pools import SOLO

pytestmark = pytest.mark.integration


def spec_of(pool: LivePool) -> WorkerPool:
    return replace(SOLO, key=pool.key, uid=pool.uid)


def agent(pool: LivePool, version: int) -> dict[str, Any]:
    """The ConfigMap of some version of the agent."""
    return build_agent_config(spec_of(pool), {"__init__.py": f"VERSION = {version}\n"})


async def names(api: Api, pool: LivePool) -> set[str]:
    return {
        each["metadata"]["name"] for each in await api.list_all(CONFIG_MAPS, pool.key.namespace, "celeriac.dev/pool")
    }


async def pod(api: Api, pool: LivePool, name: str, config: dict[str, Any] | None = None) -> PodRecord:
    """A Pod of the pool, which nobody runs here, with an agent mounted."""
    container = {"name": "worker", "image": "app:1"}
    volumes = [{"name": "agent", "configMap": {"name": config["metadata"]["name"]}}] if config else []
    spec = {"containers": [container], "volumes": volumes, "automountServiceAccountToken": False}
    metadata = {"namespace": pool.key.namespace, "name": name, "labels": LABELS}
    body = await api.create(
        PODS, pool.key.namespace, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    )
    return PodRecord.from_body(body)


# The agent's ConfigMaps


async def test_the_agent_is_there_before_the_pods_that_mount_it_and_is_never_changed(api: Api, pool: LivePool) -> None:
    for _ in range(2):
        await ensure_agent_config(api, pool.uid, agent(pool, 1))
    made = await api.read(CONFIG_MAPS, pool.key.namespace, agent(pool, 1)["metadata"]["name"])
    assert made["data"] == {"__init__.py": "VERSION = 1\n"}
    change = {"data": {"__init__.py": "VERSION = 2\n"}}
    with pytest.raises(Invalid, match="immutable"):
        await api.merge_patch(CONFIG_MAPS, pool.key.namespace, made["metadata"]["name"], change, manager="somebody")


async def test_the_agent_goes_with_its_pool(api: Api, pool: LivePool) -> None:
    await ensure_agent_config(api, pool.uid, agent(pool, 1))
    pool.kubectl("delete", "cwp", "ml", "--cascade=foreground", "--timeout=30s")
    assert await names(api, pool) == set()


async def test_a_config_map_of_somebody_else_is_neither_mounted_nor_overwritten(api: Api, pool: LivePool) -> None:
    name = agent(pool, 1)["metadata"]["name"]
    pool.kubectl("create", "configmap", name, "--from-literal=__init__.py=import os")
    with pytest.raises(NameTaken, match="does not belong to this pool") as taken:
        await ensure_agent_config(api, pool.uid, agent(pool, 1))
    assert not isinstance(taken.value, StillGoing)
    pool.kubectl("delete", "configmap", name)
    forged = {**agent(pool, 1), "data": {"__init__.py": "import os"}}
    await api.create(CONFIG_MAPS, pool.key.namespace, forged)
    with pytest.raises(NameTaken, match="does not hold the operator's agent; delete it"):
        await ensure_agent_config(api, pool.uid, agent(pool, 1))


async def test_a_pool_made_anew_waits_for_the_agent_of_its_predecessor_to_go(api: Api, pool: LivePool) -> None:
    await ensure_agent_config(api, pool.uid, agent(pool, 1))
    with pytest.raises(StillGoing, match="replaced as soon as it is gone"):
        await ensure_agent_config(api, "uid-of-the-next-pool", agent(pool, 1))


async def test_agents_of_earlier_versions_are_removed_once_no_pod_mounts_them(api: Api, pool: LivePool) -> None:
    """All are made within seconds, of which the API keeps no parts: which of them are the oldest is open."""
    versions = [agent(pool, number) for number in range(KEPT + 3)]
    for version in versions:
        await ensure_agent_config(api, pool.uid, version)
    pool.kubectl("create", "configmap", "of-the-user", "--from-literal=a=b")
    pool.kubectl("label", "configmap", "of-the-user", "celeriac.dev/pool=ml")
    mounted, current = (version["metadata"]["name"] for version in versions[:2])
    old_pod = await pod(api, pool, "old", versions[0])
    before = await names(api, pool)
    gone = set(await prune_agent_configs(api, pool.uid, versions[1]))
    kept = await names(api, pool)
    assert (kept, bool(gone)) == (before - gone, True)
    assert {current, mounted, "of-the-user"} <= kept
    await api.delete(PODS, pool.key.namespace, "old", uid=old_pod.uid)
    assert await prune_agent_configs(api, "uid-of-another-pool", versions[1]) == []
    await prune_agent_configs(api, pool.uid, versions[1])
    left = await names(api, pool)
    assert {current, "of-the-user"} <= left
    assert len(left - {current, "of-the-user"}) in (KEPT - 1, KEPT)


async def test_another_agent_is_a_rollout_of_a_running_pool_and_disabling_it_another(api: Api, pool: LivePool) -> None:
    spec = spec_of(pool)
    templates = []
    for each, source in (
        (spec, {"a.py": "VERSION = 1\n"}),
        (spec, {"a.py": "VERSION = 2\n"}),
        (replace(spec, agent=False), {"a.py": "VERSION = 2\n"}),
    ):
        if each.agent:
            await ensure_agent_config(api, pool.uid, build_agent_config(each, source))
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
