"""A CeleryWorkerPool as tests need it."""

from typing import Any

from celeriac.pool.model import BrokerSpec, WorkerPool
from celeriac.scaling.policy import Policy
from tests.unit.builders.workers import KEY


def pool(**fields: Any) -> WorkerPool:
    """Four slots of prefork on the queue celery."""
    given: dict[str, Any] = {
        "key": KEY,
        "uid": "pool",
        "generation": 1,
        "image": "app:1",
        "app": "app",
        "broker": BrokerSpec(url="redis://redis:6379/0"),
        "policy": Policy(slots=4),
    }
    return WorkerPool(**{**given, **fields})
