"""How a worker is started: `<launcher> -c BOOTSTRAP -A <app> worker ...`, in exec form.

There is no shell between the container's PID 1 and Celery, so that SIGTERM reaches the worker (warm shutdown) and
arguments need no quoting. PYTHONPATH is never set: it would replace the image's own.
"""

from collections.abc import Sequence

from celeriac.pool.model import PoolType, WorkerOptions, WorkerPool
from celeriac.resources.agent import AGENT_DIR, AGENT_MODULE

RUN_DIR = "/run/celeriac"
RUN_DIR_VARIABLE = "CELERIAC_RUN_DIR"
CUSTOM_POOL_VARIABLE = "CELERY_CUSTOM_WORKER_POOL"

# Runs in the image's own Python, of any version that Celery 5.3 or later runs on, before Celery does.
# - `ready` outlives a container (the volume belongs to the pod), so the first thing is to remove an old one.
# - `python -c` puts the working directory first on sys.path, where a user's queue.py or celery.py would hide the real
#   one. The `celery` script puts it there only while it imports the app. At the end of the path it hides nothing.
# - gevent and eventlet patch Python; nothing that they patch may be imported before. `main` does the same once more,
#   to no effect.
# - A failure to mark the worker ready leaves the pod unready, which can be seen; it never stops the worker.
# - The agent is found at the very end of the path, where it hides nothing either.
_PREPARE = """\
import os, sys

ready = os.path.join(os.environ["CELERIAC_RUN_DIR"], "ready")

def forget_ready(**_):
    try:
        os.remove(ready)
    except OSError:
        pass

def mark_ready(**_):
    try:
        open(ready, "w").close()
    except OSError as error:
        sys.stderr.write("celeriac: this worker cannot be marked ready: %s\\n" % error)

forget_ready()
sys.argv[0] = "celery"
if "" in sys.path:
    sys.path.remove("")
    sys.path.append("")
"""
_FIND_AGENT = f'sys.path.append("{AGENT_DIR}")\n'
_START = """
from celery import maybe_patch_concurrency
maybe_patch_concurrency()

from celery.signals import worker_ready, worker_shutting_down
worker_ready.connect(mark_ready, weak=False)
worker_shutting_down.connect(forget_ready, weak=False)

from celery.__main__ import main
main()
"""
BOOTSTRAP = _PREPARE + _START
AGENT_BOOTSTRAP = _PREPARE + _FIND_AGENT + _START

INCLUDE_OPTIONS = ("-I", "--include")


def worker_command(pool: WorkerPool, *, agent: bool) -> list[str]:
    """What the container executes: Python, told to start Celery. `worker_arguments` follow."""
    return [*pool.launcher, "-c", AGENT_BOOTSTRAP if agent else BOOTSTRAP]


def worker_arguments(pool: WorkerPool, *, agent: bool) -> list[str]:
    """The arguments of the `celery` command; all of them exist in Celery 5.3 and later.

    Mingle stays on: a worker that starts without it runs tasks that were revoked. Heartbeats stay on too.
    """
    return [
        "-A",
        pool.app,
        "worker",
        "-P",
        _pool_argument(pool.pool_type),
        "-c",
        str(pool.policy.slots),
        "-Q",
        ",".join(pool.queues),
        "--without-gossip",
        "-l",
        pool.worker.log_level,
        *_options(pool.worker),
        *(_with_agent(pool.worker.extra_args) if agent else pool.worker.extra_args),
    ]


def _with_agent(extra_args: Sequence[str]) -> list[str]:
    """The user's arguments, with the agent among the modules that Celery imports.

    Of several -I Celery heeds the last one only: the user's becomes part of ours. It is found in each spelling that
    click knows (-I a,b; -Ia,b; --include a,b; --include=a,b); one that lacks its value stays, for Celery to refuse.
    """
    others: list[str] = []
    included = AGENT_MODULE
    words = iter(extra_args)
    for word in words:
        if word in INCLUDE_OPTIONS:
            value = next(words, None)
        elif word.startswith("--include="):
            value = word.removeprefix("--include=")
        else:
            value = word.removeprefix("-I") if word.startswith("-I") else None
        if value is None:
            others.append(word)
        else:
            included = f"{AGENT_MODULE},{value}"
    return ["-I", included, *others]


def _pool_argument(pool_type: PoolType) -> str:
    """The value of -P that wins over `worker_pool` in the app's configuration.

    Celery cannot tell `-P prefork` from its default and then prefers the app's setting; `processes`, its other name
    for the same pool, always wins (celery.bin.worker.WorkersPool).
    """
    return "processes" if pool_type is PoolType.PREFORK else pool_type.value


def _options(worker: WorkerOptions) -> list[str]:
    """Options that are given only where the user set them; otherwise the app's own settings stay in force."""
    values = {
        "--prefetch-multiplier": worker.prefetch_multiplier,
        "--max-tasks-per-child": worker.max_tasks_per_child,
        "--max-memory-per-child": worker.max_memory_per_child_kib,
        "--soft-time-limit": worker.soft_time_limit_seconds,
        "--time-limit": worker.time_limit_seconds,
    }
    options = [text for name, value in values.items() if value is not None for text in (name, str(value))]
    return [*options, "--task-events"] if worker.events else options
