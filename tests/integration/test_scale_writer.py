"""Replicas are written by one request at the version that the watch has brought, and never against what has changed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from celeriac.api.authority import Authority
from celeriac.autoscaling.scale_writer import Change, ScaleWriter, Written
from celeriac.cluster.client import Api
from celeriac.cluster.deployments import ensure_deployment
from celeriac.cluster.records import DeploymentRecord
from tests.integration.live_pool import LivePool

pytestmark = pytest.mark.integration


@dataclass
class Scene:
    """A Deployment, the writer, what the watch last told it, and the requests that it sent."""

    pool: LivePool
    api: Api
    requests: list[tuple[str, str, int]]
    watched: DeploymentRecord | None = None

    async def write(self, before: int, after: int, *, in_rollout: bool = False) -> Written:
        self.requests.clear()
        writer = ScaleWriter(self.api, Authority(lambda: True, lambda: True), lambda key: self.watched)
        written = await writer.write(self.pool.key, Change(before, after, "", in_rollout))
        assert (written.version != "") == (written.replicas is not None), "it says at which version that is so"
        return replace(written, version="")

    async def see(self) -> None:
        """The watch has caught up with what the controllers do."""
        self.watched = await self.pool.settled(self.api)

    async def replicas(self) -> int:
        return (await self.api.read_scale(self.pool.key)).replicas


@pytest.fixture
async def scene(pool: LivePool) -> AsyncIterator[Scene]:
    requests: list[tuple[str, str, int]] = []

    def note(verb: str, resource: str, status: int, seconds: float) -> None:
        requests.append((verb, resource, status))

    async with await Api.connect(str(pool.control_plane.kubeconfig), on_request=note) as api:
        await ensure_deployment(api, pool.uid, pool.manifest())
        complete = '{.status.conditions[?(@.type=="Progressing")].reason}=NewReplicaSetAvailable'
        await asyncio.to_thread(pool.kubectl, "wait", f"--for=jsonpath={complete}", "deployment/ml", "--timeout=30s")
        made = Scene(pool, api, requests)
        await made.see()
        yield made


PATCHED = ("patch", "deployments/scale", 200)
REFUSED = ("patch", "deployments/scale", 409)


async def test_a_change_is_one_request(scene: Scene) -> None:
    assert await scene.write(0, 3) == Written(performed=True, replicas=3)
    assert scene.requests == [PATCHED]
    await scene.pool.wait_for_replicas(3)
    await scene.see()
    assert await scene.write(3, 1) == Written(performed=True, replicas=1)
    assert scene.requests == [PATCHED]


async def test_a_watch_that_is_behind_costs_a_look_and_not_the_change(scene: Scene) -> None:
    scene.pool.kubectl("label", "deployment", "ml", "touched=1")  # an annotation would have its controller write too
    assert await scene.write(0, 3) == Written(performed=True, replicas=3)
    assert scene.requests == [REFUSED, ("get", "deployments/scale", 200), PATCHED]


async def test_before_the_watch_has_told_anything_the_api_server_is_asked(scene: Scene) -> None:
    scene.watched = None
    assert await scene.write(0, 3) == Written(performed=True, replicas=3)
    assert scene.requests == [("get", "deployments/scale", 200), PATCHED]


async def test_a_count_of_our_own_that_no_body_says_yet_is_not_written_on(scene: Scene) -> None:
    """As `Store.note_replicas` leaves a record: its version is that of before our write."""
    await scene.write(0, 3)
    await scene.pool.wait_for_replicas(3)
    await scene.pool.settled(scene.api)
    assert scene.watched is not None
    scene.watched = replace(scene.watched, spec_replicas=3, resource_version="")
    assert (await scene.write(3, 5)).performed
    assert [request for request in scene.requests if request == REFUSED] == []


async def test_somebody_who_scaled_it_meanwhile_is_not_overruled(scene: Scene) -> None:
    scene.pool.kubectl("scale", "deployment/ml", "--replicas=7")
    assert await scene.write(0, 3) == Written(replicas=7)
    assert await scene.replicas() == 7


async def test_nothing_goes_down_once_a_rollout_has_begun_that_the_watch_has_not_told_of(scene: Scene) -> None:
    await scene.write(0, 3)
    await scene.pool.wait_for_replicas(3)
    await scene.see()
    await ensure_deployment(scene.api, scene.pool.uid, scene.pool.manifest("app:2"))
    assert await scene.write(3, 1) == Written()
    assert scene.requests == [REFUSED, ("get", "deployments", 200)]
    assert await scene.replicas() == 3


async def test_nothing_goes_down_in_a_rollout_that_the_watch_tells_of_and_nothing_is_asked_for_it(
    scene: Scene,
) -> None:
    await scene.write(0, 3)
    await scene.pool.wait_for_replicas(3)
    await ensure_deployment(scene.api, scene.pool.uid, scene.pool.manifest("app:2"))
    await scene.see()
    assert await scene.write(3, 1) == Written()
    assert scene.requests == []
    assert (await scene.write(3, 2, in_rollout=True)).performed
    assert scene.requests == [PATCHED]


async def test_a_deployment_made_anew_under_its_name_is_not_scaled_by_a_plan_for_the_other(scene: Scene) -> None:
    await scene.write(0, 3)
    await scene.pool.wait_for_replicas(3)
    await scene.see()
    scene.pool.kubectl("delete", "deployment", "ml")
    await ensure_deployment(scene.api, scene.pool.uid, scene.pool.manifest())
    assert await scene.write(3, 5) == Written(replicas=0)
    assert await scene.replicas() == 0
