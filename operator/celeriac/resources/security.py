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
    """The pod's securityContext: what the user asks for, but never less than the level demands."""
    if level is PodSecurity.BASELINE:
        return {"seccompProfile": dict(RUNTIME_DEFAULT), **users}
    return {**users, "runAsNonRoot": True, "seccompProfile": dict(RUNTIME_DEFAULT)}


def worker_security_context(level: PodSecurity) -> dict[str, Any] | None:
    """The securityContext of the worker's container; None where the level asks for none."""
    context = helper_security_context(level)
    return None if context is None else {**context, "readOnlyRootFilesystem": True}


def helper_security_context(level: PodSecurity) -> dict[str, Any] | None:
    """The securityContext of a user's init container or sidecar that has none; None where the level asks for none.

    Its root file system stays writable: the standard allows it, and foreign images are seldom made for less.
    """
    if level is PodSecurity.BASELINE:
        return None
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": dict(RUNTIME_DEFAULT),
    }
