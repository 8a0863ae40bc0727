"""Bringing a pool's Deployment about: created at zero without ever having a Pod, then kept as its manifest says.

Server-side apply of a new Deployment without replicas would start one Pod, because the API server defaults the field
to 1. So it is created with `replicas: 0`, in one request. The first /scale takes the field over by itself. Where an
apply comes before that, the scale manager is handed the zero first: a manager that lets go of the only claim to a field
resets it. From then on a value has an owner who is not us, and applying the manifest leaves it alone.

Each step names the Deployment that it means, and none forces a value on the replicas. Killed between two steps, the
operator finds the Deployment with the replicas still in the hands of the manager of the children, and goes on.
"""

from typing import Any, Final

from celeriac.api.keys import PoolKey
from celeriac.cluster.body import Body
from celeriac.cluster.client import MANAGER, SCALE_MANAGER, Api
from celeriac.cluster.errors import Conflict, NotFound
from celeriac.cluster.ownership import check_owner
from celeriac.cluster.paths import DEPLOYMENTS
from celeriac.cluster.records import DeploymentRecord

NOBODYS_VERSION: Final = "1"
"""A resourceVersion that no object has: etcd's first write is its second revision.

An apply that names it creates, and is a Conflict where anything has the name, forced or not (seen on 1.34). Without it
an apply would lay the manifest over somebody else's Deployment, wherever no field of it says otherwise.
"""


async def create_deployment(api: Api, pool_uid: str, manifest: Body) -> dict[str, Any]:
    """Create a Deployment that never has a Pod until somebody scales it; its body afterwards.

    The manifest carries no replicas and an owner reference to the pool. Where something has the name, see
    `ensure_deployment`.
    """
    try:
        return await _create_at_zero(api, manifest)
    except Conflict:
        return await ensure_deployment(api, pool_uid, manifest)


async def update_deployment(api: Api, pool_uid: str, manifest: Body, live: DeploymentRecord) -> dict[str, Any]:
    """Apply the manifest to the pool's Deployment as the watch last told of it; its body afterwards.

    Where it is another by now, see `ensure_deployment`.
    """
    try:
        return await _apply(api, manifest, live)
    except Conflict:
        return await ensure_deployment(api, pool_uid, manifest)


async def ensure_deployment(api: Api, pool_uid: str, manifest: Body) -> dict[str, Any]:
    """Look what there is, then create the Deployment or apply its manifest; its body afterwards.

    Raises NameTaken where a Deployment of the name is not controlled by the pool of that uid, StillGoing where it will
    be gone soon; Conflict where it was made, replaced or scaled meanwhile: try again.
    """
    metadata = manifest["metadata"]
    try:
        current = await api.read_deployment(PoolKey(metadata["namespace"], metadata["name"]))
    except NotFound:
        return await _create_at_zero(api, manifest)
    check_owner(current, manifest, pool_uid)
    return await _apply(api, manifest, DeploymentRecord.from_body(current))


async def _create_at_zero(api: Api, manifest: Body) -> dict[str, Any]:
    _check(manifest)
    metadata = {**manifest["metadata"], "resourceVersion": NOBODYS_VERSION}
    at_zero = {**manifest, "metadata": metadata, "spec": {**manifest["spec"], "replicas": 0}}
    return await api.apply(DEPLOYMENTS, at_zero, manager=MANAGER, force=False)


async def _apply(api: Api, manifest: Body, live: DeploymentRecord) -> dict[str, Any]:
    """Apply to this very Deployment: were it deleted meanwhile, an apply without uid would create one with a Pod."""
    _check(manifest)
    if live.replicas_as_created:
        await _hand_over_replicas(api, manifest, live)
    named = {**manifest, "metadata": {**manifest["metadata"], "uid": live.uid}}
    return await api.apply(DEPLOYMENTS, named, manager=MANAGER)


async def _hand_over_replicas(api: Api, manifest: Body, live: DeploymentRecord) -> None:
    """Let the scale manager own the replicas, at the value that they have.

    Not forced: somebody who has scaled it since then owns another value, and that is a Conflict. (A resourceVersion
    would be one too often: the Deployment controller annotates what is new at this very moment.)
    """
    claim = {
        "apiVersion": manifest["apiVersion"],
        "kind": manifest["kind"],
        "metadata": {**live.key._asdict(), "uid": live.uid},
        "spec": {"replicas": live.spec_replicas},
    }
    await api.apply(DEPLOYMENTS, claim, manager=SCALE_MANAGER, force=False)


def _check(manifest: Body) -> None:
    if "replicas" in manifest["spec"]:
        raise ValueError("the manifest of a pool's Deployment must not hold replicas: they are the scale manager's")
