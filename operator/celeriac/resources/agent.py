"""The agent in workers: the ConfigMap that holds its files, and what a pod has of it.

They are mounted as a Python package beside the image's own code, which stays as it is. The ConfigMap's name follows
from its content: another agent is another pod template, a rollout as any other, and the pods of before keep theirs.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from celeriac.api.digest import content_digest
from celeriac.api.names import AGENT_LABEL, AGENT_VOLUME
from celeriac.pool.model import WorkerPool

AGENT_DIR: Final = "/celeriac"
"""Where Python looks for the package."""

AGENT_MODULE: Final = "celeriac_agent"
AGENT_PACKAGE_DIR: Final = f"{AGENT_DIR}/{AGENT_MODULE}"
READ_ONLY_MODE: Final = 0o444
DESCRIPTION: Final = (
    "The Celeriac agent, mounted by the workers of the CeleryWorkerPools in this namespace. The operator makes it, and"
    " removes it when nobody uses it any more."
)
"""What a person reads who finds the ConfigMap."""

_DIGITS: Final = 12  # of the digest: two agents of one name would be one ConfigMap for both


def build_agent_config(namespace: str, files: Mapping[str, str]) -> dict[str, Any]:
    """The ConfigMap with the agent for all pools of a namespace: `files` are texts by name.

    It never changes (immutable); kubelets need no watch. It has no owner: it goes with its last user.
    """
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": agent_config_name(files),
            "namespace": namespace,
            "labels": {
                "app.kubernetes.io/name": AGENT_VOLUME,
                "app.kubernetes.io/managed-by": "celeriac",
                AGENT_LABEL: agent_digest(files),
            },
            "annotations": {"kubernetes.io/description": DESCRIPTION},
        },
        "immutable": True,
        "data": dict(files),
    }


def agent_config_name(files: Mapping[str, str]) -> str:
    """The ConfigMap's name: it follows from what is in it."""
    return f"{AGENT_VOLUME}-{agent_digest(files)}"


def agent_digest(files: Mapping[str, str]) -> str:
    """The value of the agent's label, on its ConfigMap and on the Pods that mount it."""
    return _digest(tuple(files.items()))


@lru_cache(maxsize=4)
def _digest(files: tuple[tuple[str, str], ...]) -> str:
    """It is asked for with every pool, and takes a millisecond."""
    return content_digest(dict(files))[:_DIGITS]


def agent_environment(pool: WorkerPool) -> list[dict[str, Any]]:
    """What tells the agent who it is.

    Prefetch is off unless the user asks for some: what waits at a busy worker is out of reach for an idle one.
    """
    variables: list[dict[str, Any]] = [
        {"name": "CELERIAC_NAMESPACE", "value": pool.key.namespace},
        {"name": "CELERIAC_POOL", "value": pool.key.name},
        {"name": "CELERIAC_POOL_UID", "value": pool.uid},
        {"name": "CELERIAC_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "CELERIAC_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "CELERIAC_AGENT_LEVEL", "value": pool.agent.value},
        {"name": "CELERIAC_MAX_ATTEMPTS", "value": str(pool.max_attempts)},
    ]
    if pool.worker.reject_on_worker_lost is not None:
        value = "1" if pool.worker.reject_on_worker_lost else "0"
        variables.append({"name": "CELERIAC_REJECT_ON_WORKER_LOST", "value": value})
    if pool.worker.prefetch_multiplier is None:
        variables.append({"name": "CELERIAC_DISABLE_PREFETCH", "value": "1"})
    return variables


def agent_volume(config_name: str) -> dict[str, Any]:
    """The ConfigMap as a volume that any user of the image may read."""
    return {"name": AGENT_VOLUME, "configMap": {"name": config_name, "defaultMode": READ_ONLY_MODE}}


def agent_mount() -> dict[str, Any]:
    """Where `agent_volume` is seen."""
    return {"name": AGENT_VOLUME, "mountPath": AGENT_PACKAGE_DIR, "readOnly": True}
