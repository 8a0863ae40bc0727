"""The ConfigMaps with the agent: made before the pods that mount them, removed when no pod does any more.

They never change: another agent is another ConfigMap (`celeriac.resources.agent`). With their pool the garbage
collector removes them all.
"""

from contextlib import suppress
from http import HTTPStatus
from typing import Final

from celeriac.api.names import POOL_LABEL
from celeriac.cluster.body import Body
from celeriac.cluster.client import Api
from celeriac.cluster.errors import NameTaken, NotFound
from celeriac.cluster.ownership import check_owner
from celeriac.cluster.paths import CONFIG_MAPS
from celeriac.cluster.records import controller_of

KEPT: Final = 3
"""The youngest ones stay, used or not: as many as a pool's Deployment keeps ReplicaSets, two old ones and its own."""


async def ensure_agent_config(api: Api, pool_uid: str, manifest: Body) -> None:
    """Create the ConfigMap unless it is there; to be called before its name is in a pod template.

    The manifest has an owner reference to the pool. Raises NameTaken where something else has the name, StillGoing
    where that will be gone soon; Conflict where somebody was faster: try again.
    """
    metadata = manifest["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    try:
        current = await api.read(CONFIG_MAPS, namespace, name)
    except NotFound:
        await api.create(CONFIG_MAPS, namespace, manifest)
        return
    check_owner(current, manifest, pool_uid)
    if current.get("data") != manifest["data"]:
        message = f"ConfigMap {namespace}/{name} does not hold the operator's agent; delete it, and it is made anew"
        raise NameTaken(HTTPStatus.CONFLICT, "NameTaken", message)


async def prune_agent_configs(api: Api, pool_uid: str, manifest: Body) -> list[str]:
    """Delete what came before the ConfigMap of the manifest and is in no use; the names of those deleted.

    The manifest's own stays, as do the youngest and all that a pod mounts.
    """
    metadata = manifest["metadata"]
    namespace, selector = metadata["namespace"], f"{POOL_LABEL}={metadata['labels'][POOL_LABEL]}"
    old = await _old_ones(api, pool_uid, manifest, selector)
    if not old:
        return []
    used = {name for pod in await api.list_pods(namespace, selector) for name in _mounted(pod)}
    unused = {name: uid for name, uid in old.items() if name not in used}
    for name, uid in unused.items():
        with suppress(NotFound):
            await api.delete(CONFIG_MAPS, namespace, name, uid=uid)
    return list(unused)


async def _old_ones(api: Api, pool_uid: str, manifest: Body, selector: str) -> dict[str, str]:
    """The agents' ConfigMaps of the same owner that are not among the youngest: name and uid."""
    listed = await api.list_all(CONFIG_MAPS, manifest["metadata"]["namespace"], selector)
    own = [each for each in listed if _is_agent_of(pool_uid, each, manifest)]
    own.sort(key=lambda each: str(each["metadata"]["creationTimestamp"]), reverse=True)
    found = {each["metadata"]["name"]: each["metadata"]["uid"] for each in own[KEPT:]}
    found.pop(manifest["metadata"]["name"], None)
    return found


def _is_agent_of(pool_uid: str, body: Body, manifest: Body) -> bool:
    """Whether a ConfigMap is the pool's and holds what the manifest's does, in some version."""
    owner = controller_of(body) or {}
    return owner.get("uid") == pool_uid and (body.get("data") or {}).keys() == manifest["data"].keys()


def _mounted(pod: Body) -> list[str]:
    """The names of the ConfigMaps that a pod has as volumes."""
    return [each["configMap"]["name"] for each in pod["spec"].get("volumes") or () if "configMap" in each]
