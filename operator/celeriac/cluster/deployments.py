"""Bringing a pool's Deployment about: created at zero without ever having a Pod, then kept as its manifest says.

Server-side apply of a new Deployment without replicas would start one Pod, because the API server defaults the field
to 1. So it is created with `replicas: 0`, a second field manager takes over that zero, and only then the manager of
the children lets go of it: from then on a value has an owner who is not us, and applying the manifest leaves it alone.

Each step names the uid of the Deployment that it means, and none forces a value on the replicas. Killed between two
steps, the operator finds the half-made Deployment and goes on; nothing is ever reset or created by accident.
"""

from typing import Any

from celeriac.api.keys import PoolKey
from celeriac.cluster.body import Body
from celeriac.cluster.client import MANAGER, SCALE_MANAGER, Api
from celeriac.cluster.errors import NotFound
from celeriac.cluster.ownership import check_owner
from celeriac.cluster.paths import DEPLOYMENTS


async def ensure_deployment(api: Api, pool_uid: str, manifest: Body) -> dict[str, Any]:
    """Create the Deployment, or apply its manifest to the one that exists; its body afterwards.

    The manifest carries no replicas and an owner reference to the pool. Raises NameTaken where a Deployment of the
    name is not controlled by the pool of that uid, StillGoing where it will be gone soon; Conflict where it was
    replaced or scaled meanwhile: try again.
    """
    if "replicas" in manifest["spec"]:
        raise ValueError("the manifest of a pool's Deployment must not hold replicas: they are the scale manager's")
    metadata = manifest["metadata"]
    try:
        current = await api.read_deployment(PoolKey(metadata["namespace"], metadata["name"]))
    except NotFound:
        return await create_deployment_at_zero(api, manifest)
    check_owner(current, manifest, pool_uid)
    if _owns_replicas(current):
        await _hand_over_replicas(api, current)
    return await _apply_manifest(api, manifest, current)


async def create_deployment_at_zero(api: Api, manifest: Body) -> dict[str, Any]:
    """Create a Deployment that never has a Pod until somebody scales it; its body afterwards.

    Not forced: should another's Deployment have appeared since the caller looked, it is a Conflict.
    """
    at_zero = {**manifest, "spec": {**manifest["spec"], "replicas": 0}}
    created = await api.apply(DEPLOYMENTS, at_zero, manager=MANAGER, force=False)
    await _hand_over_replicas(api, created)
    return await _apply_manifest(api, manifest, created)


async def _hand_over_replicas(api: Api, current: Body) -> None:
    """Let the scale manager own the replicas, at the value that they have.

    Not forced: somebody who has scaled it since then owns another value, and that is a Conflict. (A resourceVersion
    would be one too often: the Deployment controller annotates what is new at this very moment.)
    """
    identity = {name: current["metadata"][name] for name in ("namespace", "name", "uid")}
    manifest = {
        "apiVersion": current["apiVersion"],
        "kind": current["kind"],
        "metadata": identity,
        "spec": {"replicas": current["spec"]["replicas"]},
    }
    await api.apply(DEPLOYMENTS, manifest, manager=SCALE_MANAGER, force=False)


async def _apply_manifest(api: Api, manifest: Body, current: Body) -> dict[str, Any]:
    """Apply to this very Deployment: were it deleted meanwhile, an apply without uid would create one with a Pod."""
    uid = current["metadata"]["uid"]
    return await api.apply(DEPLOYMENTS, {**manifest, "metadata": {**manifest["metadata"], "uid": uid}}, manager=MANAGER)


def _owns_replicas(current: Body) -> bool:
    """Whether the manager of the children owns spec.replicas: the trace of a creation that was interrupted."""
    return any(
        entry["manager"] == MANAGER
        and entry["operation"] == "Apply"
        and "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
        for entry in current["metadata"].get("managedFields", ())
    )
