"""What names a pool in every room."""

from typing import NamedTuple


class PoolKey(NamedTuple):
    """Names one CeleryWorkerPool, and its Deployment: both have the same namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
