"""The probes of a worker: a file that the worker makes when it consumes (see `command.BOOTSTRAP`).

Celery's own `inspect ping` is no probe: a busy solo worker does not answer it, and one run costs 0.3 s of CPU and
50 MB. Looking for a file costs 10 ms of CPU (measured with Python 3.11), whatever the worker does. The image's Python
does it, because it is the one program that is known to be there: a distroless image has no `test`.

There is no liveness probe. The kubelet already restarts a worker whose process ended. One that runs must not be
restarted from outside: during a long task (solo) or while the broker is away it looks exactly like a dead one, and the
restart would lose the work that it holds.
"""

from typing import Any

from celeriac.pool.model import WorkerPool

# -I -S: nothing of the user's (PYTHONSTARTUP, site-packages with their .pth files) is read, which also makes it cheap.
CHECK = """\
import os, sys
if not os.path.exists(os.path.join(os.environ["CELERIAC_RUN_DIR"], "ready")):
    sys.exit("the worker does not consume yet: see its log")
"""

# A container at its CPU limit with a busy worker waits for its share.
TIMEOUT_SECONDS = 10


def startup_probe(pool: WorkerPool) -> dict[str, Any]:
    """Finds a new worker ready within about 2 s, and lets it take an hour for its imports and its broker.

    The kubelet restarts a container that is not ready by then. No task is lost: this worker never had one.
    The first second is left out, in which a restarted container might still show the file of the one before.
    """
    return {
        **_probe(pool),
        "initialDelaySeconds": 1,
        "periodSeconds": 2,
        "failureThreshold": 1800,
    }


def readiness_probe(pool: WorkerPool) -> dict[str, Any]:
    """False from the moment that a worker shuts down; true through every task, however long."""
    return {**_probe(pool), "periodSeconds": 10, "failureThreshold": 3}


def _probe(pool: WorkerPool) -> dict[str, Any]:
    return {
        "exec": {"command": [*pool.launcher, "-I", "-S", "-c", CHECK]},
        "timeoutSeconds": TIMEOUT_SECONDS,
    }
