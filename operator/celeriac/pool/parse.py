"""From the body of a CeleryWorkerPool to frozen values, once, at the edge.

The CRD has checked most of this already. It is checked again where the operator would otherwise misbehave: an object
may be older than a rule of the CRD, or come from a file. Defaults are the CRD's for the same reason.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from celeriac.api.keys import PoolKey
from celeriac.api.words import holds_control
from celeriac.pool.broker import parse_broker
from celeriac.pool.broker_url import broker_url_problem
from celeriac.pool.fields import NO_LINE, Fields
from celeriac.pool.layouts import PRIORITY_STEPS, SEPARATOR
from celeriac.pool.model import (
    Agent,
    BrokerSpec,
    InvalidPool,
    PodSecurity,
    PodTemplate,
    PoolType,
    WorkerOptions,
    WorkerPool,
)
from celeriac.pool.pod_security import insecure
from celeriac.pool.policy import parse_policy, policy_problems
from celeriac.pool.refused import refused_names, refused_options
from celeriac.pool.strategy import parse_strategy
from celeriac.pool.template import parse_template, string_map
from celeriac.scaling.policy import Strategy

MAX_NAME: Final = 63  # characters of a label's value
MAX_CONCURRENCY: Final = 10_000
MAX_SECONDS: Final = 31_536_000  # a year
MAX_INT32: Final = 2**31 - 1
MAX_MEMORY_KIB: Final = 2**40
MAX_ATTEMPTS: Final = 100
DEFAULT_CONCURRENCY: Final = 4
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL")

_NAME: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z"  # RFC 1123, as Kubernetes has it

__all__ = ["broker_url_problem", "parse_pool", "problems"]


def parse_pool(body: Mapping[str, Any]) -> WorkerPool:
    """One CeleryWorkerPool as the API server gives it. Raises InvalidPool, and nothing else, for a bad one."""
    resource = Fields.of("resource", body)
    metadata = Fields.of("metadata", resource.values.get("metadata"))
    key = _key(metadata)
    spec = Fields.of("spec", resource.values.get("spec"))
    concurrency = _concurrency(spec)
    pool = WorkerPool(
        key=key,
        uid=metadata.text("uid", ""),
        generation=metadata.integer("generation", 0, 0, 2**63 - 1),
        image=_image(spec),
        app=_app(spec),
        broker=_broker(spec),
        layout_said=_layout_said(spec),
        policy=parse_policy(spec, slots=concurrency),
        queues=_queues(spec),
        pool_type=_pool_type(spec),
        concurrency=concurrency,
        custom_pool=_custom_pool(spec),
        launcher=_launcher(spec),
        worker=_worker(spec),
        drain_timeout_seconds=_drain_timeout(spec),
        agent=_agent(spec),
        max_attempts=_max_attempts(spec),
        rollout_on_secret_change=_rollout_on_secret_change(spec),
        pod_security=_pod_security(spec),
        deployment_annotations=_deployment_annotations(spec),
        template=_template(spec),
    )
    for problem in (*refused_options(spec), *refused_names(spec), *insecure(spec)):
        raise problem
    return pool


def problems(body: Mapping[str, Any]) -> list[InvalidPool]:
    """All that parse_pool has against a pool, as far as its parts can be told apart; at most one for each field."""
    found: dict[str, InvalidPool] = {}
    for problem in _problems(body):
        found.setdefault(problem.field, problem)
    return list(found.values())


def _problems(body: Mapping[str, Any]) -> Iterator[InvalidPool]:
    try:
        resource = Fields.of("resource", body)
        spec = Fields.of("spec", resource.values.get("spec"))
    except InvalidPool as error:
        yield error
        return
    try:
        _key(Fields.of("metadata", resource.values.get("metadata")))
    except InvalidPool as error:
        yield error
    for part in _PARTS:
        try:
            part(spec)
        except InvalidPool as error:
            yield error
    for check in (policy_problems, refused_options, refused_names, insecure):
        try:
            yield from check(spec)
        except InvalidPool as error:
            yield error


def _key(metadata: Fields) -> PoolKey:
    name = metadata.needed("name", "ml")
    if len(name) > MAX_NAME:
        raise metadata.invalid("name", f"is longer than {MAX_NAME} characters: choose a shorter one")
    if re.search(_NAME, name) is None:
        raise metadata.invalid(
            "name",
            "must be made of lower-case letters, digits, - and ., with a letter or digit at both ends, e.g. ml-large",
        )
    return PoolKey(metadata.text("namespace", "default"), name)


def _image(spec: Fields) -> str:
    spec.needed("image", "registry.example/app:1.4")
    return spec.matching(
        "image", "", r"^\S+\Z", "must not hold spaces: give one reference such as registry.example/app:1.4"
    )


def _app(spec: Fields) -> str:
    spec.needed("app", "proj.celery:app")
    return spec.matching(
        "app",
        "",
        r"^[^-:\s][^:\s]*(:[^:\s]+)?\Z",
        "must be what celery -A takes: a module or module:attribute, e.g. proj.celery:app",
    )


def _pool_type(spec: Fields) -> PoolType:
    return spec.choice("pool", PoolType.PREFORK)


def _concurrency(spec: Fields) -> int:
    if _pool_type(spec) is PoolType.SOLO:
        if spec.integer("concurrency", 1, 1, MAX_CONCURRENCY) != 1:
            raise spec.invalid("concurrency", "must be 1 or absent with pool: solo, which runs one task at a time")
        return 1
    return spec.integer("concurrency", DEFAULT_CONCURRENCY, 1, MAX_CONCURRENCY)


def _custom_pool(spec: Fields) -> str | None:
    custom_pool = spec.matching(
        "customPool", None, r"^[^-:\s][^:\s]*:[^:\s]+\Z", "must name a class as module:Class, e.g. my.pool:TaskPool"
    )
    if (_pool_type(spec) is PoolType.CUSTOM) != (custom_pool is not None):
        raise spec.invalid("customPool", "goes with pool: custom and with nothing else: set both or neither")
    return custom_pool


def _queues(spec: Fields) -> tuple[str, ...]:
    queues = spec.texts("queues", ("celery",))
    if not queues:
        raise spec.invalid("queues", "must name at least one queue: drop the field for the default, celery")
    for index, queue in enumerate(queues):
        if queue in queues[:index]:
            raise InvalidPool(f"spec.queues[{index}]", "is there already: name each queue once")
        if re.search(r"[,\s]", queue):
            raise InvalidPool(f"spec.queues[{index}]", "must not hold commas or spaces: give each queue its own entry")
        if holds_control(queue):
            raise InvalidPool(f"spec.queues[{index}]", NO_LINE)
    return queues


def _launcher(spec: Fields) -> tuple[str, ...]:
    launcher = spec.texts("launcher", ("python",))
    if not launcher:
        raise spec.invalid("launcher", "must name a program: drop the field for the default, python")
    return launcher


def _worker(spec: Fields) -> WorkerOptions:
    worker = spec.child("worker")
    level = worker.text("logLevel", "INFO")
    if level not in LOG_LEVELS:
        raise worker.invalid("logLevel", f"must be one of {', '.join(LOG_LEVELS)}")
    options = WorkerOptions(
        prefetch_multiplier=worker.integer("prefetchMultiplier", None, 1, 1000),
        max_tasks_per_child=worker.integer("maxTasksPerChild", None, 1, MAX_INT32),
        max_memory_per_child_kib=worker.integer("maxMemoryPerChildKiB", None, 1, MAX_MEMORY_KIB),
        soft_time_limit_seconds=worker.integer("softTimeLimitSeconds", None, 1, MAX_SECONDS),
        time_limit_seconds=worker.integer("timeLimitSeconds", None, 1, MAX_SECONDS),
        reject_on_worker_lost=worker.boolean("rejectOnWorkerLost", False) if worker.has("rejectOnWorkerLost") else None,
        events=worker.boolean("events", False),
        log_level=level,
        extra_args=worker.texts("extraArgs", ()),
    )
    soft, hard = options.soft_time_limit_seconds, options.time_limit_seconds
    if soft is not None and hard is not None and soft >= hard:
        raise worker.invalid(
            "softTimeLimitSeconds",
            "must be below worker.timeLimitSeconds, or a task is killed before it is warned: "
            "lower the one or raise the other",
        )
    return options


def _drain_timeout(spec: Fields) -> int:
    return spec.child("drain").integer("timeoutSeconds", 3600, 1, MAX_SECONDS)


def _agent(spec: Fields) -> Agent:
    word = spec.choice("agent", Agent.ENABLED)
    return Agent.DRAIN if word is Agent.ENABLED else word


def _max_attempts(spec: Fields) -> int:
    return spec.child("redelivery").integer("maxAttempts", 5, 1, MAX_ATTEMPTS)


def _rollout_on_secret_change(spec: Fields) -> bool:
    return spec.child("broker").boolean("rolloutOnSecretChange", True)


def _pod_security(spec: Fields) -> PodSecurity:
    return spec.choice("podSecurity", PodSecurity.BASELINE)


def _deployment_annotations(spec: Fields) -> Mapping[str, str]:
    return string_map(spec.child("deployment"), "annotations")


def _strategy(spec: Fields) -> Strategy:
    return parse_strategy(spec.child("strategy"))


def _template(spec: Fields) -> PodTemplate:
    return parse_template(spec.child("template"))


def _broker(spec: Fields) -> BrokerSpec:
    return parse_broker(Fields.of("spec.broker", spec.values.get("broker")))


def _layout_said(spec: Fields) -> frozenset[str]:
    broker = Fields.of("spec.broker", spec.values.get("broker"))
    return frozenset(name for name in (SEPARATOR, PRIORITY_STEPS) if broker.has(name))


_PARTS: Final[tuple[Callable[[Fields], object], ...]] = (
    _image,
    _app,
    _broker,
    _queues,
    _pool_type,
    _concurrency,
    _custom_pool,
    _launcher,
    _worker,
    _drain_timeout,
    _agent,
    _max_attempts,
    _rollout_on_secret_change,
    _pod_security,
    _deployment_annotations,
    _strategy,
    _template,
)
"""What reads one part of the spec each, all of it but spec.scaling."""
