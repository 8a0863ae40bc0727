"""The names of the API. They stand in objects that outlive the operator's versions: none of them ever changes."""

from typing import Final

GROUP: Final = "celeriac.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "CeleryWorkerPool"
PLURAL: Final = "celeryworkerpools"
POOL_LABEL: Final = f"{GROUP}/pool"
"""Label of all that belongs to a pool: the pool's name."""
DRAIN_ANNOTATION: Final = f"{GROUP}/drain"
"""Annotation of a Pod that is to end: the token that its worker must answer with."""
BROKER_ANNOTATION: Final = f"{GROUP}/broker"
"""Annotation of a Pod: where its broker is found, as JSON without credentials."""
DELETION_COST_ANNOTATION: Final = "controller.kubernetes.io/pod-deletion-cost"
"""Kubernetes' own: the ReplicaSet controller stops the Pod with the lowest first, after those that are not ready."""
WORKER_CONTAINER: Final = "worker"
"""Name of the container in a Pod that runs the worker."""
