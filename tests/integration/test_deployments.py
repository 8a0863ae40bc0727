"""A pool's Deployment and status on a real API server, while real controllers and other people act on them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from celeriac.api.authority import Authority
from celeriac.autoscaling.rollouts import retire
from celeriac.cluster.client import MANAGER, SCALE_MANAGER, Api
from celeriac.cluster.deployments import create_deployment, ensure_deployment, update_deployment
from celeriac.cluster.errors import Conflict, Forbidden, Invalid, NameTaken, NotFound, StillGoing
from celeriac.cluster.paths import CELERY_WORKER_POOLS, DEPLOYMENTS
from celeriac.cluster.records import DeploymentRecord
from celeriac.cluster.replica_sets import list_replica_sets
from celeriac.scaling.decision import Retirement
from tests.cluster.control_plane import ControlPlane
from tests.integration.live_pool import LABELS, LivePool

pytestmark = pytest.mark.integration


def owners_of_replicas(deployment: dict[str, Any]) -> set[str]:
    entries = deployment["metadata"]["managedFields"]
    return {entry["manager"] for entry in entries if "f:replicas" in entry["fieldsV1"].get("f:spec", {})}


# Deployments


@asynccontextmanager
async def counting(pool: LivePool) -> AsyncIterator[tuple[Api, list[str]]]:
    """A client, and its requests."""
    requests: list[str] = []

    def count(verb: str, resource: str, status: int, seconds: float) -> None:
        requests.append(f"{verb} {resource} {status}")

    async with await Api.connect(str(pool.control_plane.kubeconfig), on_request=count) as api:
        yield api, requests


async def test_a_pool_created_at_zero_takes_one_request_and_never_has_a_pod(api: Api, pool: LivePool) -> None:
    async with counting(pool) as (creator, requests):
        created = await create_deployment(creator, pool.uid, pool.manifest())
    assert requests == ["apply deployments 201"]
    assert created["spec"]["replicas"] == 0
    assert owners_of_replicas(created) == {MANAGER}
    record = await pool.settled(api)
    assert (record.spec_replicas, record.replicas, record.controller_uid) == (0, 0, pool.uid)
    assert not record.rollout_in_progress
    changed = await update_deployment(api, pool.uid, pool.manifest("app:2"), record)
    assert (changed["spec"]["replicas"], owners_of_replicas(changed)) == (0, {SCALE_MANAGER})
    await pool.settled(api)
    assert await pool.never_had_a_pod(api)


async def test_the_first_scaling_takes_the_replicas_over_and_no_apply_after_it_does(api: Api, pool: LivePool) -> None:
    created = await create_deployment(api, pool.uid, pool.manifest())
    await pool.settled(api)
    stale = DeploymentRecord.from_body(created)
    scale = await api.read_scale(pool.key)
    await api.patch_scale(pool.key, 3, resource_version=scale.resource_version)
    scaled = await api.read_deployment(pool.key)
    assert owners_of_replicas(scaled) == {SCALE_MANAGER}
    async with counting(pool) as (applier, requests):
        live = DeploymentRecord.from_body(scaled)
        assert (await update_deployment(applier, pool.uid, pool.manifest("app:2"), live))["spec"]["replicas"] == 3
        assert requests == ["apply deployments 200"]
        requests.clear()
        changed = await update_deployment(applier, pool.uid, pool.manifest("app:3"), stale)
    assert (changed["spec"]["replicas"], owners_of_replicas(changed)) == (3, {SCALE_MANAGER})
    assert requests[0] == "apply deployments 409", "the watch was behind: the scale manager is handed no old count"


@pytest.mark.parametrize("replicas", [0, 2])
async def test_what_somebody_scaled_before_the_operator_did_stays(api: Api, pool: LivePool, replicas: int) -> None:
    stale = DeploymentRecord.from_body(await create_deployment(api, pool.uid, pool.manifest()))
    pool.kubectl("scale", "deployment/ml", f"--replicas={replicas}")
    live = DeploymentRecord.from_body(await api.read_deployment(pool.key))
    for known, image in ((stale, "app:2"), (live, "app:3")):
        assert (await update_deployment(api, pool.uid, pool.manifest(image), known))["spec"]["replicas"] == replicas


async def test_an_autoscaler_of_somebody_else_goes_on_where_a_pool_was_created(api: Api, pool: LivePool) -> None:
    await create_deployment(api, pool.uid, pool.manifest())
    pool.kubectl("autoscale", "deployment", "ml", "--min=2", "--max=4")
    pool.kubectl("scale", "deployment/ml", "--replicas=1")  # an autoscaler wakes nothing at zero
    await pool.wait_for_replicas(2)
    live = DeploymentRecord.from_body(await api.read_deployment(pool.key))
    assert (await update_deployment(api, pool.uid, pool.manifest("app:2"), live))["spec"]["replicas"] == 2


class Killed(BaseException):
    """The operator ends here, as by SIGKILL: its request has reached the API server, nothing follows."""


async def make_and_change(api: Api, pool: LivePool) -> None:
    """Create the Deployment and apply another image."""
    live = DeploymentRecord.from_body(await create_deployment(api, pool.uid, pool.manifest()))
    await update_deployment(api, pool.uid, pool.manifest("app:2"), live)


async def die_after_write(pool: LivePool, number: int) -> None:
    """Make and change the Deployment with an operator that is killed after the given write."""
    writes = 0

    def count(verb: str, resource: str, status: int, seconds: float) -> None:
        nonlocal writes
        writes += verb == "apply"
        if writes == number:
            raise Killed

    async with await Api.connect(str(pool.control_plane.kubeconfig), on_request=count) as doomed:
        with pytest.raises(Killed):
            await make_and_change(doomed, pool)


@pytest.mark.parametrize("writes", [1, 2, 3])
async def test_an_operator_killed_while_it_creates_a_pool_goes_on_where_it_was(
    api: Api, pool: LivePool, writes: int
) -> None:
    await die_after_write(pool, writes)
    resumed = await ensure_deployment(api, pool.uid, pool.manifest())
    assert resumed["spec"]["replicas"] == 0
    assert owners_of_replicas(resumed) == {SCALE_MANAGER}
    await pool.settled(api)
    assert await pool.never_had_a_pod(api)


@pytest.mark.parametrize("writes", [1, 2])
async def test_a_half_made_deployment_that_somebody_scaled_keeps_its_scale(
    api: Api, pool: LivePool, writes: int
) -> None:
    await die_after_write(pool, writes)
    pool.kubectl("scale", "deployment/ml", "--replicas=3")
    resumed = await ensure_deployment(api, pool.uid, pool.manifest())
    assert resumed["spec"]["replicas"] == 3
    assert MANAGER not in owners_of_replicas(resumed)


async def test_a_scale_in_the_middle_of_an_apply_wins(api: Api, pool: LivePool) -> None:
    await create_deployment(api, pool.uid, pool.manifest())

    def scale_after_the_look(verb: str, resource: str, status: int, seconds: float) -> None:
        if verb == "get":
            pool.kubectl("scale", "deployment/ml", "--replicas=3")

    kubeconfig = str(pool.control_plane.kubeconfig)
    async with await Api.connect(kubeconfig, on_request=scale_after_the_look) as disturbed:
        with pytest.raises(Conflict):
            await ensure_deployment(disturbed, pool.uid, pool.manifest("app:2"))
    assert (await ensure_deployment(api, pool.uid, pool.manifest("app:2")))["spec"]["replicas"] == 3


async def test_a_pool_scaled_to_7_keeps_7_while_it_gets_a_new_image(api: Api, pool: LivePool) -> None:
    await ensure_deployment(api, pool.uid, pool.manifest())
    await pool.settled(api)
    scale = await api.read_scale(pool.key)
    assert (await api.patch_scale(pool.key, 7, resource_version=scale.resource_version)).replicas == 7
    await pool.wait_for_replicas(7)
    changed = await ensure_deployment(api, pool.uid, pool.manifest("app:2"))
    assert changed["spec"]["replicas"] == 7
    assert changed["spec"]["template"]["spec"]["containers"][0]["image"] == "app:2"
    record = await pool.settled(api)
    assert (record.spec_replicas, record.rollout_in_progress) == (7, True)


async def test_a_pool_changes_its_strategy_there_and_back(api: Api, pool: LivePool) -> None:
    """What belongs to the one type must not stay behind: the API server refuses it beside the other."""
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "50%"}}
    for strategy in (rolling, {"type": "Recreate"}, rolling):
        manifest = pool.manifest()
        manifest["spec"]["strategy"] = strategy
        assert (await ensure_deployment(api, pool.uid, manifest))["spec"]["strategy"] == strategy


async def test_old_pods_make_room_one_by_one_and_the_controller_starts_a_new_one_for_each(
    api: Api, pool: LivePool
) -> None:
    """Without nodes all pods are pending: the controller itself would never go on."""
    await ensure_deployment(api, pool.uid, pool.manifest())
    await pool.settled(api)
    scale = await api.read_scale(pool.key)
    await api.patch_scale(pool.key, 2, resource_version=scale.resource_version)
    await pool.wait_for_replicas(2)
    body = await ensure_deployment(api, pool.uid, pool.manifest("app:2"))
    await pool.wait_for_replicas(3)
    deployment = await pool.settled(api)
    sets = await list_replica_sets(api, pool.key, body["metadata"]["uid"])
    new, old = sorted(sets.values(), key=lambda each: each.revision != deployment.revision)
    assert (new.replicas, old.replicas) == (1, 2)

    leader = Authority(lambda: True, lambda: True)
    assert await retire(api, leader, pool.key, old.name, Retirement(old.uid, 2, 1, 2))
    updated = "--for=jsonpath={.status.updatedReplicas}=2"
    await asyncio.to_thread(pool.kubectl, "wait", updated, "deployment/ml", "--timeout=30s")
    assert not await retire(api, leader, pool.key, old.name, Retirement(old.uid, 2, 1, 2)), "it was planned before"
    sets = await list_replica_sets(api, pool.key, body["metadata"]["uid"])
    assert (sets[new.uid].replicas, sets[old.uid].replicas) == (2, 1)


@pytest.mark.parametrize("labels", [{"app": "ml"}, LABELS])
async def test_a_deployment_of_somebody_else_is_not_adopted(api: Api, pool: LivePool, labels: dict[str, str]) -> None:
    """One with our selector and other containers contradicts no field of the manifest."""
    metadata = {"name": "ml", "labels": {"app": "theirs"}}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "nginx"}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    theirs = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
    pool.kubectl("create", "-f", "-", stdin=json.dumps(theirs))
    before = (await pool.settled(api)).fingerprint
    for ensure in (ensure_deployment, create_deployment):
        with pytest.raises(NameTaken, match="give the pool another name") as taken:
            await ensure(api, pool.uid, pool.manifest())
        assert not isinstance(taken.value, StillGoing)
    assert (await pool.settled(api)).fingerprint == before


async def test_a_deployment_that_appears_after_the_look_is_not_adopted(api: Api, pool: LivePool) -> None:
    def appear(verb: str, resource: str, status: int, seconds: float) -> None:
        if (verb, status) == ("get", 404):
            pool.kubectl("create", "deployment", "ml", "--image=nginx", "--replicas=0")

    async with await Api.connect(str(pool.control_plane.kubeconfig), on_request=appear) as disturbed:
        with pytest.raises(Conflict):
            await ensure_deployment(disturbed, pool.uid, pool.manifest())
    assert "ownerReferences" not in (await api.read_deployment(pool.key))["metadata"]


async def test_a_pool_made_anew_waits_for_the_deployment_of_its_predecessor_to_go(api: Api, pool: LivePool) -> None:
    """The predecessor is another uid here: the real garbage collector would come at a moment of its own."""
    await ensure_deployment(api, pool.uid, pool.manifest())
    pool.kubectl("patch", "deployment", "ml", "--type=merge", "-p", '{"metadata": {"finalizers": ["test/wait"]}}')
    with pytest.raises(StillGoing, match="replaced as soon as it is gone"):
        await create_deployment(api, "uid-of-the-next-pool", pool.manifest())
    pool.kubectl("delete", "deployment", "ml", "--wait=false")
    with pytest.raises(StillGoing, match="replaced as soon as it is gone"):
        await create_deployment(api, "uid-of-the-next-pool", pool.manifest())
    pool.kubectl("patch", "deployment", "ml", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    assert (await create_deployment(api, pool.uid, pool.manifest()))["spec"]["replicas"] == 0


async def test_a_namespace_that_is_being_deleted_refuses_in_its_own_words(
    api: Api, control_plane: ControlPlane, pool: LivePool
) -> None:
    finalizer = {"metadata": {"name": "keep", "finalizers": ["test/wait"]}}
    keeper = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", **finalizer})
    pool.kubectl("create", "-f", "-", stdin=keeper)
    control_plane.kubectl("delete", "namespace", pool.key.namespace, "--wait=false")
    with pytest.raises(Forbidden, match="because it is being terminated"):
        await ensure_deployment(api, pool.uid, pool.manifest())
    pool.kubectl("patch", "configmap", "keep", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')


async def test_an_apply_that_names_a_uid_never_creates_nor_touches_another_object(api: Api, pool: LivePool) -> None:
    manifest = pool.manifest()
    manifest["metadata"]["uid"] = (await ensure_deployment(api, pool.uid, pool.manifest()))["metadata"]["uid"]
    pool.kubectl("delete", "deployment", "ml")
    with pytest.raises(Conflict):
        await api.apply(DEPLOYMENTS, manifest, manager=MANAGER)
    with pytest.raises(NotFound):
        await api.read_deployment(pool.key)
    pool.kubectl("create", "deployment", "ml", "--image=nginx", "--replicas=0")
    with pytest.raises(Conflict):
        await api.apply(DEPLOYMENTS, manifest, manager=MANAGER)


async def test_a_stale_decision_does_not_scale(api: Api, pool: LivePool) -> None:
    await ensure_deployment(api, pool.uid, pool.manifest())
    await pool.settled(api)
    seen = await api.read_scale(pool.key)
    pool.kubectl("scale", "deployment/ml", "--replicas=2")
    with pytest.raises(Conflict):
        await api.patch_scale(pool.key, 9, resource_version=seen.resource_version)
    assert (await api.read_scale(pool.key)).replicas == 2


# Status


async def test_the_status_of_a_deleted_pool_is_not_resurrected(api: Api, pool: LivePool) -> None:
    await api.apply_pool_status(pool.key, pool.uid, {"replicas": 12})
    assert pool.kubectl("get", "cwp", "ml", "-o", "jsonpath={.status.replicas}") == "12"
    pool.kubectl("delete", "cwp", "ml")
    with pytest.raises((NotFound, Conflict)):
        await api.apply_pool_status(pool.key, pool.uid, {"replicas": 13})
    assert await api.list_all(CELERY_WORKER_POOLS, pool.key.namespace) == []
    pool.create()
    with pytest.raises(Conflict):
        await api.apply_pool_status(pool.key, pool.uid, {"replicas": 14})
    (made_anew,) = await api.list_all(CELERY_WORKER_POOLS, pool.key.namespace)
    assert "replicas" not in made_anew.get("status", {})


async def test_a_status_that_the_schema_refuses_names_the_field(api: Api, pool: LivePool) -> None:
    with pytest.raises(Invalid) as refused:
        await api.apply_pool_status(pool.key, pool.uid, {"replicas": "many"})
    assert "status.replicas" in refused.value.fields


async def test_a_figure_that_is_no_longer_reported_leaves_the_status(api: Api, pool: LivePool) -> None:
    await api.apply_pool_status(pool.key, pool.uid, {"replicas": 12, "idleSince": "2026-01-01T00:00:00Z"})
    await api.apply_pool_status(pool.key, pool.uid, {"replicas": 0})
    assert json.loads(pool.kubectl("get", "cwp", "ml", "-o", "jsonpath={.status}")) == {"replicas": 0}
