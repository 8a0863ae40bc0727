"""The values of a CeleryWorkerPool, as the rest of the operator sees them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from celeriac.api.keys import PoolKey
from celeriac.scaling.policy import Policy

SHUTDOWN_SECONDS: Final = 40
"""What a prefork worker may need beyond its longest task to end in good order (measured: up to 31 s)."""


class PoolType(StrEnum):
    """How a worker runs its tasks (`celery worker -P`)."""

    SOLO = "solo"
    PREFORK = "prefork"
    THREADS = "threads"
    GEVENT = "gevent"
    EVENTLET = "eventlet"
    CUSTOM = "custom"


class Agent(StrEnum):
    """How much the agent does in a pool's workers; each level includes the ones below it. Only DISABLED is false.

    ENABLED is a word of manifests: it is parsed as DRAIN.
    """

    ENABLED = "enabled"
    DRAIN = "drain"
    INFLIGHT = "inflight"
    REPORT = "report"
    DISABLED = "disabled"

    def __bool__(self) -> bool:
        return self is not Agent.DISABLED

    @property
    def keeps(self) -> bool:
        """Whether each worker keeps what it holds under keys of its own, from which it is restored."""
        return self in (Agent.INFLIGHT, Agent.DRAIN)

    @property
    def drains(self) -> bool:
        """Whether workers drain before they are stopped."""
        return self is Agent.DRAIN


class PodSecurity(StrEnum):
    """The Pod Security Standard that a pool's pods satisfy."""

    BASELINE = "Baseline"
    RESTRICTED = "Restricted"


@dataclass(frozen=True, slots=True)
class SecretKey:
    """One key of a Secret in the pool's own namespace."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class QueueLayout:
    """How kombu lays a queue out in Redis (its transport options of the same names). Only brokers/redis looks into it.

    key_prefix      `global_keyprefix`, before every key
    separator       `sep`, between the queue's name and the priority step
    priority_steps  each step but 0 has a list of its own: <queue><separator><step>
    """

    key_prefix: str = ""
    separator: str = "\x06\x16"
    priority_steps: tuple[int, ...] = (0, 3, 6, 9)

    @property
    def registry(self) -> str:
        """Which registry of worker processes goes with it. Opaque to all but the broker; equal ones are one."""
        return self.key_prefix


@dataclass(frozen=True, slots=True)
class TlsSecrets:
    """Where the CA and the client certificate of a rediss:// broker come from."""

    ca: SecretKey | None = None
    certificate: SecretKey | None = None
    private_key: SecretKey | None = None


@dataclass(frozen=True, slots=True)
class SentinelSecrets:
    """What the Sentinels themselves ask for; the master's own user and password are in the URL."""

    username: SecretKey | None = None
    password: SecretKey | None = None
    tls: TlsSecrets | None = None


@dataclass(frozen=True, slots=True)
class BrokerSpec:
    """Where the queues are. Exactly one of `url` (without a password) and `url_from` is set."""

    url: str | None = None
    url_from: SecretKey | None = None
    layout: QueueLayout = QueueLayout()
    tls: TlsSecrets | None = None
    sentinel_master: str | None = None
    sentinel: SentinelSecrets | None = None


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Options of `celery worker`; None leaves the application's own setting in force."""

    prefetch_multiplier: int | None = None
    max_tasks_per_child: int | None = None
    max_memory_per_child_kib: int | None = None
    soft_time_limit_seconds: int | None = None
    time_limit_seconds: int | None = None
    reject_on_worker_lost: bool | None = None
    events: bool = False
    log_level: str = "INFO"
    extra_args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """What the user adds to the worker's pods: the allowlisted fields of spec.template, as they came."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkerPool:
    """One CeleryWorkerPool. `generation` is the one of metadata; `uid` that of the object.

    layout_said   fields of spec.broker's layout that the owner wrote; in the others its workers are believed
    rollout_on_secret_change  whether workers are replaced when the broker's Secrets change
    max_attempts  deaths of a worker that a task survives: at this many it becomes a dead letter
    """

    key: PoolKey
    uid: str
    generation: int
    image: str
    app: str
    broker: BrokerSpec
    policy: Policy
    layout_said: frozenset[str] = frozenset()
    queues: tuple[str, ...] = ("celery",)
    pool_type: PoolType = PoolType.PREFORK
    concurrency: int = 4
    custom_pool: str | None = None
    launcher: tuple[str, ...] = ("python",)
    worker: WorkerOptions = WorkerOptions()
    drain_timeout_seconds: int = 3600
    agent: Agent = Agent.DRAIN
    max_attempts: int = 5
    rollout_on_secret_change: bool = True
    pod_security: PodSecurity = PodSecurity.BASELINE
    deployment_annotations: Mapping[str, str] = field(default_factory=dict)
    template: PodTemplate = field(default_factory=PodTemplate)


class InvalidPool(ValueError):
    """A CeleryWorkerPool that cannot be run. `field` is its path (spec.pool); the message names the cure."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class NotAllowed(InvalidPool):
    """A pool that could be run, and that asks for more than the platform allows."""
