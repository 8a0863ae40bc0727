"""The names that Celeriac gives to what it makes: labels, annotations, the owner."""

from typing import Any

from celeriac.api.names import API_VERSION, KIND, POOL_LABEL
from celeriac.pool.model import WorkerPool


def pool_labels(pool: WorkerPool) -> dict[str, str]:
    """The labels of all that belongs to a pool; the first three are the recommended labels of Kubernetes."""
    return {
        "app.kubernetes.io/name": "celery-worker",
        "app.kubernetes.io/instance": pool.key.name,
        "app.kubernetes.io/managed-by": "celeriac",
        **selector_labels(pool),
    }


def selector_labels(pool: WorkerPool) -> dict[str, str]:
    """What selects a pool's pods. A Deployment's selector is immutable: this never changes."""
    return {POOL_LABEL: pool.key.name}


def selector(name: str) -> str:
    """The selector of a pool's pods as text, for status.selector: an HPA on the scale subresource reads it."""
    return f"{POOL_LABEL}={name}"


def owner_reference(pool: WorkerPool) -> dict[str, Any]:
    """Makes the CeleryWorkerPool the owner: deleted with it, and by nothing else."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": pool.key.name,
        "uid": pool.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
