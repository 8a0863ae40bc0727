"""How a worker is started: `<launcher> -c BOOTSTRAP -A <app> worker ...`, in exec form.

There is no shell between the container's PID 1 and Celery, so that SIGTERM reaches the worker (warm shutdown) and
arguments need no quoting. PYTHONPATH is never set: it would replace the image's own.
"""

from collections.abc import Sequence

from celeriac.pool.model import PoolType, WorkerOptions, WorkerPool
from celeriac.resources.agent import AGENT_MODULE
from celeriac.resources.bootstrap import AGENT_BOOTSTRAP, BOOTSTRAP

CUSTOM_POOL_VARIABLE = "CELERY_CUSTOM_WORKER_POOL"

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
