"""The probes of a worker: a file that the worker makes when it consumes, looked for by a script that it leaves behind.

Both are made by the bootstrap (`resources.bootstrap`). Celery's own `inspect ping` is no probe: a busy solo worker does
not answer it, and one run costs 0.3 s of CPU and 50 MB. Looking for a file costs 10 ms of CPU (measured with Python
3.11), whatever the worker does. The interpreter of the worker does it, because it is the one program that is known to
be there: a distroless image has no `test`. What else is in spec.launcher is not run again: it may wait, or migrate.

There is no liveness probe. The kubelet already restarts a worker whose process ended. One that runs must not be
restarted from outside: during a long task (solo) or while the broker is away it looks exactly like a dead one, and the
restart would lose the work that it holds.
"""

from typing import Any

from celeriac.resources.bootstrap import PROBE

# A container at its CPU limit with a busy worker waits for its share.
TIMEOUT_SECONDS = 10


def startup_probe() -> dict[str, Any]:
    """Finds a new worker ready within about 2 s, and lets it take an hour for its imports and its broker.

    The kubelet restarts a container that is not ready by then. No task is lost: this worker never had one. While the
    launcher has not yet come to Python there is no script, which the kubelet takes for no answer.
    """
    return {**_probe(), "initialDelaySeconds": 1, "periodSeconds": 2, "failureThreshold": 1800}


def readiness_probe() -> dict[str, Any]:
    """False from the moment that a worker shuts down; true through every task, however long."""
    return {**_probe(), "periodSeconds": 10, "failureThreshold": 3}


def _probe() -> dict[str, Any]:
    return {"exec": {"command": [PROBE]}, "timeoutSeconds": TIMEOUT_SECONDS}
