"""The security contexts of a pool's pods, after the Pod Security Standards of Kubernetes.

Baseline runs images as they are, root ones and those that use sudo included; it only asks for the container runtime's
default system call filter, which Docker always applied. Restricted is the standard of that name and, beyond it, for the
worker a read-only root file system with a writable /tmp.
"""

from collections.abc import Mapping
from typing import Any

from celeriac.pool.model import PodSecurity

RUNTIME_DEFAULT = {"type": "RuntimeDefault"}


def pod_security_context(level: PodSecurity, users: Mapping[str, Any]) -> dict[str, Any]:
    """The pod's securityContext: what the user asks for, but never less than the level demands.

    A system call filter of the user's stands; `pool/pod_security.py` has refused Unconfined under Restricted.
    """
    if level is PodSecurity.BASELINE:
        return {"seccompProfile": dict(RUNTIME_DEFAULT), **users}
    profile = users.get("seccompProfile") or dict(RUNTIME_DEFAULT)
    return {**users, "runAsNonRoot": True, "seccompProfile": profile}


def worker_security_context(level: PodSecurity, users: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The securityContext of the worker's container: what the user says, and what the level demands beside it.

    None where neither asks for anything. A root file system that the user makes writable stays so:
    the standard allows it.
    """
    context = helper_security_context(level, users)
    if level is PodSecurity.BASELINE or context is None:
        return None if context is None else dict(context)
    return {**context, "readOnlyRootFilesystem": context.get("readOnlyRootFilesystem", True)}


def helper_security_context(level: PodSecurity, users: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The securityContext of a user's init container or sidecar: what he says, and what the level demands beside it.

    Its root file system stays writable: the standard allows it, and foreign images are seldom made for less. The rest
    comes from the pod.
    """
    if level is PodSecurity.BASELINE:
        return users
    if users is None:
        return _restricted()
    capabilities = users.get("capabilities") or {}
    filled = dict(users)
    if users.get("allowPrivilegeEscalation") is None:
        filled["allowPrivilegeEscalation"] = False
    if not capabilities.get("drop"):
        filled["capabilities"] = {**capabilities, "drop": ["ALL"]}
    return filled


def _restricted() -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": dict(RUNTIME_DEFAULT),
    }
