"""What would work against the operator: options that it owns, names that are its own. The words are the CRD's.

The CRD refuses all of it first; a test holds the two together. It is here for objects that its rules have not seen.
"""

import re
from collections.abc import Iterator
from typing import Final

from celeriac.pool.fields import Fields
from celeriac.pool.model import Agent, InvalidPool, PoolType

Rule = tuple[str, str]
"""A pattern, searched for in one word, and what its owner is told."""

ARGUMENTS: Final[tuple[Rule, ...]] = (
    (r"^(-[EDB]*A|--app(=|$))", "must not hold -A/--app: set spec.app"),
    (r"^(-[EDB]*b|--broker(=|$))", "must not hold -b/--broker: set spec.broker"),
    (r"^(-[EDB]*Q|--queues(=|$))", "must not hold -Q/--queues: set spec.queues"),
    (r"^(-[EDB]*X|--exclude-queues(=|$))", "must not hold -X/--exclude-queues: leave the queue out of spec.queues"),
    (r"^(-[EDB]*P|--pool(=|$))", "must not hold -P/--pool: set spec.pool"),
    (r"^(-[EDB]*c|--concurrency(=|$))", "must not hold -c/--concurrency: set spec.concurrency"),
    (r"^--autoscale(=|$)", "must not hold --autoscale, pods are what scales: set spec.concurrency and spec.scaling"),
    (r"^(-[EDB]*n|--hostname(=|$))", "must not hold -n/--hostname: drop it, each worker is named after its pod"),
    (
        r"^(-[ED]*B|--beat$)",
        "must not hold -B/--beat, every pod would send every scheduled task: "
        "run celery beat on its own, with one replica",
    ),
    (r"^(-[EB]*D|--detach$)", "must not hold -D/--detach: drop it, a worker in a container stays in the foreground"),
    (r"^--pidfile(=|$)", "must not hold --pidfile: drop it, a worker in a container needs none"),
    (r"^--without-heartbeat$", "must not hold --without-heartbeat: drop it, heartbeats are how a worker is seen"),
    (
        r"^--(purge|discard)$",
        "must not hold --purge, every new pod would empty the queues: drop it, and run celery purge by hand",
    ),
    (r"^(-[DB]*E|--task-events$|--events$)", "must not hold -E/--task-events: set spec.worker.events"),
    (r"^(-[EDB]*l|--loglevel(=|$))", "must not hold -l/--loglevel: set spec.worker.logLevel"),
    (r"^--prefetch-multiplier(=|$)", "must not hold --prefetch-multiplier: set spec.worker.prefetchMultiplier"),
    (r"^--max-tasks-per-child(=|$)", "must not hold --max-tasks-per-child: set spec.worker.maxTasksPerChild"),
    (r"^--max-memory-per-child(=|$)", "must not hold --max-memory-per-child: set spec.worker.maxMemoryPerChildKiB"),
    (r"^--soft-time-limit(=|$)", "must not hold --soft-time-limit: set spec.worker.softTimeLimitSeconds"),
    (r"^--time-limit(=|$)", "must not hold --time-limit: set spec.worker.timeLimitSeconds"),
    (r"^--$", "must not hold --, settings after it could undo this resource: put them into the app's configuration"),
)

VARIABLES: Final[tuple[Rule, ...]] = (
    (
        r"^CELERY_BROKER_(READ_|WRITE_)?URL$",
        "must not set CELERY_BROKER_URL, CELERY_BROKER_READ_URL or CELERY_BROKER_WRITE_URL: set spec.broker",
    ),
    (r"^CELERY_CUSTOM_WORKER_POOL$", "must not set CELERY_CUSTOM_WORKER_POOL: set spec.customPool"),
    (
        r"^REMAP_SIGTERM$",
        "must not set REMAP_SIGTERM, running tasks would be lost when a pod stops: "
        "drop it, and set spec.drain.timeoutSeconds",
    ),
    (r"^CELERIAC_", "must not set names that begin with CELERIAC_, the operator's own: choose another name"),
)

KEYS: Final[tuple[Rule, ...]] = (
    (r"^celeriac\.dev/", "must not set keys that begin with celeriac.dev/, the operator's own: choose another prefix"),
)

DEPLOYMENT_KEYS: Final[tuple[Rule, ...]] = (
    *KEYS,
    (
        r"^deployment\.kubernetes\.io/",
        "must not set keys that begin with deployment.kubernetes.io/, Kubernetes' own: choose another prefix",
    ),
)

LABELS: Final[tuple[Rule, ...]] = (
    *KEYS,
    (
        r"^app\.kubernetes\.io/(name|instance|managed-by)$",
        "must not set app.kubernetes.io/name, instance or managed-by, which the operator sets: "
        "use app.kubernetes.io/component or part-of",
    ),
)

MOUNTS: Final[tuple[Rule, ...]] = (
    (
        r"^/+((run|etc)/+)?celeriac(/|$)",
        "must not use /celeriac, /run/celeriac or /etc/celeriac, the operator's own: choose another path",
    ),
)

VOLUMES: Final[tuple[Rule, ...]] = (
    (r"^celeriac", "must not have names that begin with celeriac, the operator's own: choose another name"),
)

CONTAINERS: Final[tuple[Rule, ...]] = (
    (r"^(worker$|celeriac)", "must not be named worker or celeriac..., the operator's own: choose another name"),
)

NAMES: Final[tuple[tuple[str, str, tuple[Rule, ...]], ...]] = (
    ("env", "name", VARIABLES),
    ("volumeMounts", "mountPath", MOUNTS),
    ("volumes", "name", VOLUMES),
    ("initContainers", "name", CONTAINERS),
    ("sidecars", "name", CONTAINERS),
)
"""Lists of template.spec, the field of their items that is a name, and its rules."""

RESTART_POLICIES: Final = {
    "initContainers": "must not set restartPolicy: put a container that runs beside the worker into "
    "template.spec.sidecars",
    "sidecars": "must not set restartPolicy: drop it, it is always Always",
}

IGNORED: Final[dict[str, tuple[tuple[PoolType, ...], str]]] = {
    "maxTasksPerChild": (
        (PoolType.PREFORK,),
        "works only with pool: prefork, other pools have no child processes: drop it",
    ),
    "maxMemoryPerChildKiB": (
        (PoolType.PREFORK,),
        "works only with pool: prefork: drop it and set template.spec.resources.limits.memory",
    ),
    "softTimeLimitSeconds": (
        (PoolType.PREFORK, PoolType.CUSTOM),
        "works only with pool: prefork (or custom), Celery ignores it elsewhere: drop it, or use prefork",
    ),
    "rejectOnWorkerLost": (
        (PoolType.PREFORK, PoolType.CUSTOM),
        "works only with pool: prefork (or custom), other pools have no child processes: drop it",
    ),
    "timeLimitSeconds": (
        (PoolType.PREFORK, PoolType.GEVENT, PoolType.CUSTOM),
        "works only with pool: prefork or gevent (or custom), Celery ignores it elsewhere: drop it, or use prefork",
    ),
}
"""Options of spec.worker that Celery heeds with some types of pool only."""


WITHOUT_KEYS: Final = (
    "is laid over the app's configuration by the agent: "
    "set agent: inflight or drain, or drop it and set task_reject_on_worker_lost in the app"
)


def refused_options(spec: Fields) -> Iterator[InvalidPool]:
    """What is wrong with spec.worker beside its types and bounds. Raises InvalidPool where these are wrong."""
    worker = spec.child("worker")
    pool_type = spec.choice("pool", PoolType.PREFORK)
    for name, (pool_types, message) in IGNORED.items():
        if worker.has(name) and pool_type not in pool_types:
            yield worker.invalid(name, message)
    if worker.has("rejectOnWorkerLost") and spec.choice("agent", Agent.ENABLED) in (Agent.REPORT, Agent.DISABLED):
        yield worker.invalid("rejectOnWorkerLost", WITHOUT_KEYS)
    for index, argument in enumerate(worker.texts("extraArgs", ())):
        yield from _refusals(f"{worker.at('extraArgs')}[{index}]", argument, ARGUMENTS)


def refused_names(spec: Fields) -> Iterator[InvalidPool]:
    """Names in template and deployment that are the operator's own. Raises InvalidPool where the shape is wrong."""
    template = spec.child("template")
    metadata = template.child("metadata")
    for name, rules in (("labels", LABELS), ("annotations", KEYS)):
        for key in metadata.child(name).values:
            yield from _refusals(f"{metadata.at(name)}[{key}]", key, rules)
    annotations = spec.child("deployment").child("annotations")
    for key in annotations.values:
        yield from _refusals(f"{annotations.path}[{key}]", key, DEPLOYMENT_KEYS)
    pod = template.child("spec")
    for name, key, rules in NAMES:
        for item in pod.children(name):
            yield from _refusals(item.at(key), item.text(key, ""), rules)
    for name, message in RESTART_POLICIES.items():
        yield from (item.invalid("restartPolicy", message) for item in pod.children(name) if item.has("restartPolicy"))


def refusal_of(word: str, rules: tuple[Rule, ...]) -> str | None:
    """What the first of these rules has against a word: it says what matters most."""
    return next((message for pattern, message in rules if re.search(pattern, word)), None)


def _refusals(path: str, word: str, rules: tuple[Rule, ...]) -> Iterator[InvalidPool]:
    """At most one."""
    message = refusal_of(word, rules)
    if message is not None:
        yield InvalidPool(path, message)
