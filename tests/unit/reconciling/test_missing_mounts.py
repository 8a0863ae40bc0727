"""A Pod that gets no volumes: what they name is looked for, seldom, and only while it waits."""

from dataclasses import replace
from typing import Any

import pytest

from celeriac.cluster.errors import Forbidden, NotFound
from celeriac.cluster.paths import Resource
from celeriac.cluster.records import PodRecord
from celeriac.pool.model import PodTemplate
from celeriac.reconciling.missing_mounts import AGAIN_SECONDS, MissingMounts
from tests.unit.builders import pools

pytestmark = pytest.mark.unit

VOLUMES = [
    {"name": "a", "configMap": {"name": "settings"}},
    {"name": "b", "secret": {"secretName": "token"}},
    {"name": "c", "configMap": {"name": "maybe", "optional": True}},
    {"name": "d", "projected": {"sources": [{"secret": {"name": "other"}}, {"serviceAccountToken": {"path": "x"}}]}},
    {"name": "e", "emptyDir": {}},
    {"name": "f", "configMap": {"name": "settings"}},
]
POOL = pools.pool(template=PodTemplate(spec={"volumes": VOLUMES}))
WAITS = PodRecord(key=POOL.key, uid="p", name="p", terminating=False, problem=None, setting_up=True)


class Cluster:
    """Knows these objects; counts questions."""

    def __init__(self, *there: str) -> None:
        self.there, self.asked, self.forbidden = set(there), 0, False

    async def read_metadata(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        self.asked += 1
        if self.forbidden:
            raise Forbidden(403, "Forbidden", "no")
        if name not in self.there:
            raise NotFound(404, "NotFound", "none")
        return {}


async def test_what_is_not_there_is_named_once_and_asked_for_again_after_a_while() -> None:
    now, cluster = [0.0], Cluster("token")
    mounts = MissingMounts(cluster, lambda: now[0])  # type: ignore[arg-type]
    assert await mounts.of(POOL, [WAITS]) == ("ConfigMap settings", "Secret other")
    cluster.there |= {"settings", "other"}
    assert await mounts.of(POOL, [WAITS]) == ("ConfigMap settings", "Secret other")
    assert cluster.asked == 3
    now[0] += AGAIN_SECONDS
    assert await mounts.of(POOL, [WAITS]) == ()


@pytest.mark.parametrize("pod", [replace(WAITS, setting_up=False), replace(WAITS, terminating=True)])
async def test_nothing_is_asked_while_no_pod_waits_for_volumes(pod: PodRecord) -> None:
    cluster = Cluster()
    assert await MissingMounts(cluster).of(POOL, [pod]) == ()  # type: ignore[arg-type]
    assert cluster.asked == 0


async def test_what_may_not_be_asked_is_not_called_missing() -> None:
    cluster = Cluster()
    cluster.forbidden = True
    assert await MissingMounts(cluster).of(POOL, [WAITS]) == ()  # type: ignore[arg-type]
