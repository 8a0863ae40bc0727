"""Every Prometheus metric of the operator: one owner for their names, labels and meaning.

The other rooms say what happened in words of the domain (`metrics.scale(key, "up", 3)`); only this module knows how
Prometheus spells it. A Metrics object has a registry of its own and is passed around: there is no global state.

Unknown is never zero: a figure that could not be read has no series, so a graph shows a gap instead of a false nought.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from celeriac import __version__
from celeriac.api.keys import PoolKey
from celeriac.brokers.readings import QueueReading

POOL: Final = ("namespace", "pool")
QUEUE: Final = (*POOL, "queue")
CONDITION_STATUSES: Final = ("True", "False", "Unknown")
UNREADABLE_BROKER: Final = "unreadable"

# The tick is every 0.5 s, a status write may take the API server seconds: resolution where each of them lives.
FAST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
SLOW_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_NEXT_SERVER = re.compile(r";(?=[a-z+]+://)")
_ENDPOINT = re.compile(r"(?:[\w.-]+|\[[\da-fA-F:.]+\])?(?::\d+)?(?:/[\w./-]*)?")


class Direction(StrEnum):
    """Which way the replicas of a pool went."""

    UP = "up"
    DOWN = "down"


def broker_label(url: str) -> str:
    """The host, port and path of a broker URL: never its user, password or query.

    Several Sentinels are joined by commas. Whatever cannot be told apart from a credential (an `@` behind the host, a
    URL that does not parse) becomes "unreadable".
    """
    return ",".join(_endpoint(server) for server in _NEXT_SERVER.split(url))


def _endpoint(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return UNREADABLE_BROKER
    if not parts.scheme or "@" in parts.path + parts.query + parts.fragment:
        return UNREADABLE_BROKER
    endpoint = parts.netloc.rpartition("@")[2] + parts.path
    return endpoint if endpoint and _ENDPOINT.fullmatch(endpoint) else UNREADABLE_BROKER


class _PoolMetrics:
    """What is known of every pool. `all` holds each metric that carries the labels of a pool."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, labels: tuple[str, ...] = POOL) -> Gauge:
            return Gauge(f"celeriac_{name}", text, labels, registry=registry)

        def counter(name: str, text: str, label: str) -> Counter:
            return Counter(f"celeriac_{name}", text, (*POOL, label), registry=registry)

        self.desired = gauge("pool_desired_replicas", "Replicas that the last decision asked for, in pods.")
        self.replicas = gauge("pool_replicas", "Replicas of the pool's Deployment (spec.replicas), in pods.")
        self.ready = gauge("pool_ready_replicas", "Pods of the pool that are Ready.")
        self.running = gauge(
            "pool_running_tasks",
            "Tasks that the pool's workers hold and have not finished; absent while the broker cannot be read.",
        )
        self.slots = gauge("pool_slots", "Tasks that the pool's replicas can run at the same time.")
        self.waiting = gauge(
            "queue_waiting_tasks",
            "Messages in the queue's lists, all priorities together; those whose ETA has not come are left out of a "
            "short list. Pools that share a queue each report it: "
            "take the maximum by queue, not the sum.",
            QUEUE,
        )
        self.held = gauge(
            "queue_held_tasks", "Messages of the queue that are due, at a worker and not acknowledged.", QUEUE
        )
        self.scheduled = gauge(
            "queue_scheduled_tasks", "Messages of the queue that a worker keeps until their ETA comes.", QUEUE
        )
        self.dead = gauge(
            "queue_dead_letters",
            "Messages in the queue's dead-letter list: each was running too often in workers that died.",
            QUEUE,
        )
        self.condition = gauge(
            "pool_condition",
            "The conditions of the CeleryWorkerPool: 1 for the status that each type has, 0 for the others.",
            (*POOL, "type", "status"),
        )
        self.decisions = counter(
            "pool_decisions_total", "Scaling decisions, one per tick and pool, by their reason.", "reason"
        )
        self.scaled = counter(
            "pool_scaled_pods_total", "Pods that the operator added (up) or removed (down) through /scale.", "direction"
        )
        self.queue_figures = (self.waiting, self.held, self.scheduled, self.dead)
        self.all = (
            *(self.desired, self.replicas, self.ready, self.running, self.slots),
            *(*self.queue_figures, self.condition, self.decisions, self.scaled),
        )


class _WorkerMetrics:
    """What the reports of a pool's workers tell. `figures` are known by the names that `Metrics.workers` takes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"celeriac_pool_{name}", text, POOL, registry=registry)

        self.figures = {
            "reserved": gauge(
                "reserved_tasks", "Due messages that the pool's workers have received and not started (prefetched)."
            ),
            "agent_errors": gauge(
                "agent_errors", "What the agents in the pool's workers could not do since the start of each, in tries."
            ),
            "draining": gauge("draining_pods", "Pods that take no new task and go when theirs have ended."),
            "runtime_seconds": gauge(
                "task_runtime_seconds", "Mean time that a task occupies a slot; absent until known."
            ),
            "arrival_rate": gauge("arrival_rate", "Tasks that arrive per second, 30 s moving average."),
            "departure_rate": gauge("departure_rate", "Tasks that end per second, 30 s moving average."),
            "cold_start_seconds": gauge(
                "cold_start_seconds", "Mean time from the first sight of a Pod until its worker consumes, last 10 Pods."
            ),
            "oldest_seconds": gauge("oldest_task_seconds", "How long the oldest waiting message has waited."),
        }
        self.restored = Counter(
            "celeriac_pool_restored_messages_total",
            "Messages of workers that ended which were put back in their queues (queue), or made dead letters (dead).",
            (*POOL, "to"),
            registry=registry,
        )
        self.all = (*self.figures.values(), self.restored)


class _OperatorMetrics:
    """What the operator knows of itself."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, labels: tuple[str, ...]) -> Counter:
            return Counter(f"celeriac_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()) -> Histogram:
            return Histogram(f"celeriac_{name}", text, labels, buckets=buckets, registry=registry)

        self.tick = histogram(
            "tick_duration_seconds", "Time of one autoscaling tick over all pools, in seconds.", FAST_BUCKETS
        )
        self.broker_read = histogram(
            "broker_read_duration_seconds",
            "Time of one bulk reading of a broker, failed ones included, in seconds.",
            FAST_BUCKETS,
            ("broker",),
        )
        self.broker_failures = counter(
            "broker_read_failures_total",
            "Readings that could not be trusted, by the reason that condition BrokerReachable gives.",
            ("broker", "reason"),
        )
        self.api_requests = counter(
            "api_requests_total",
            "Requests to the Kubernetes API by HTTP status; code 0: no answer came.",
            ("verb", "resource", "code"),
        )
        self.api_duration = histogram(
            "api_request_duration_seconds",
            "Time until the Kubernetes API answered, in seconds.",
            SLOW_BUCKETS,
            ("verb", "resource"),
        )
        self.reconcile = histogram(
            "reconcile_duration_seconds",
            "Time to bring one pool's children in line with it, in seconds, by outcome.",
            SLOW_BUCKETS,
            ("outcome",),
        )
        self.watch_failures = counter(
            "watch_failures_total", "Watches and lists of the API server that failed and were begun anew.", ("part",)
        )
        self.unreadable = Gauge(
            "celeriac_unreadable_objects",
            "Objects that the operator cannot read, for a fault of its own: see its log.",
            ("kind",),
            registry=registry,
        )
        self.leader = Gauge("celeriac_leader", "1 while this replica holds the Lease and acts.", registry=registry)
        self.workqueue = Gauge(
            "celeriac_workqueue_depth", "Pools that wait to be reconciled by this replica.", registry=registry
        )


class Metrics:
    """The operator's metrics. Every method is cheap, safe to call from any thread, and never raises."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._pools = _PoolMetrics(self.registry)
        self._workers = _WorkerMetrics(self.registry)
        self._operator = _OperatorMetrics(self.registry)
        self._queues: dict[PoolKey, frozenset[str]] = {}
        build = Info("celeriac_build", "The version of the operator that runs.", registry=self.registry)
        build.info({"version": __version__})
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def pool(
        self, key: PoolKey, *, desired: int, replicas: int, ready: int, slots: int, running: int | None = None
    ) -> None:
        """Say how large a pool is (pods), what it can run at a time (`slots`, tasks) and runs; None: not known."""
        self._pools.desired.labels(*key).set(desired)
        self._pools.replicas.labels(*key).set(replicas)
        self._pools.ready.labels(*key).set(ready)
        self._pools.slots.labels(*key).set(slots)
        if running is None:
            self._pools.running.remove(*key)
        else:
            self._pools.running.labels(*key).set(running)
        for direction in Direction:
            self._pools.scaled.labels(*key, direction)

    def queues(self, key: PoolKey, readings: Mapping[str, QueueReading]) -> None:
        """Say what the pool's queues hold, in messages. A queue that is not named any more loses its series."""
        for queue, reading in readings.items():
            self._pools.waiting.labels(*key, queue).set(reading.waiting)
            self._pools.held.labels(*key, queue).set(reading.held)
            self._pools.scheduled.labels(*key, queue).set(reading.scheduled)
            self._pools.dead.labels(*key, queue).set(reading.dead)
        now = frozenset(readings)
        for queue in self._queues.get(key, frozenset()) - now:
            for figure in self._pools.queue_figures:
                figure.remove(*key, queue)
        self._queues[key] = now

    def queues_unknown(self, key: PoolKey) -> None:
        """Drop what was said of the pool's queues and running tasks: the broker cannot be read."""
        self.queues(key, {})
        self._pools.running.remove(*key)
        self.workers(key, {})

    def workers(self, key: PoolKey, figures: Mapping[str, float | None]) -> None:
        """Say what the reports of the pool's workers tell, by the names of `_WorkerMetrics.figures`.

        What is None or not given has no series.
        """
        for name, gauge in self._workers.figures.items():
            value = figures.get(name)
            if value is None:
                gauge.remove(*key)
            else:
                gauge.labels(*key).set(value)

    def restored(self, key: PoolKey, queued: int, dead: int) -> None:
        """Count the messages of a worker that ended: put back in their queues, or made dead letters."""
        self._workers.restored.labels(*key, "queue").inc(queued)
        self._workers.restored.labels(*key, "dead").inc(dead)

    def condition(self, key: PoolKey, type: str, status: str) -> None:
        """Say which status ("True", "False" or "Unknown") a condition of the pool has."""
        for each in CONDITION_STATUSES:
            self._pools.condition.labels(*key, type, each).set(each == status)

    def decision(self, key: PoolKey, reason: str) -> None:
        """Count one scaling decision; `reason` is a `Reason`."""
        self._pools.decisions.labels(*key, reason).inc()

    def scale(self, key: PoolKey, direction: Direction, pods: int) -> None:
        """Count the pods of one change of the replicas."""
        self._pools.scaled.labels(*key, direction).inc(pods)

    def forget(self, key: PoolKey) -> None:
        """Remove all series of a pool that was deleted."""
        self._queues.pop(key, None)
        labels = dict(zip(POOL, key, strict=True))
        for metric in (*self._pools.all, *self._workers.all):
            metric.remove_by_labels(labels)

    def tick(self, seconds: float) -> None:
        """Note how long one autoscaling tick took."""
        self._operator.tick.observe(seconds)

    def broker_read(self, url: str, seconds: float, *, reason: str | None = None) -> None:
        """Note one reading of a broker; `reason` (of its BrokerDoubt) where it failed. No credential is kept."""
        broker = broker_label(url)
        self._operator.broker_read.labels(broker).observe(seconds)
        if reason is not None:
            self._operator.broker_failures.labels(broker, reason).inc()

    def forget_broker(self, url: str) -> None:
        """Remove all series of a broker that no pool uses any more."""
        labels = {"broker": broker_label(url)}
        self._operator.broker_read.remove_by_labels(labels)
        self._operator.broker_failures.remove_by_labels(labels)

    def api_request(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Note one request to the Kubernetes API ("patch", "deployments/scale", 200); code 0: no answer came."""
        self._operator.api_requests.labels(verb, resource, code).inc()
        self._operator.api_duration.labels(verb, resource).observe(seconds)

    def watch_failure(self, part: str) -> None:
        """Count a watch ("watch") or a full list ("list") that failed."""
        self._operator.watch_failures.labels(part).inc()

    def unreadable(self, objects: Mapping[str, int]) -> None:
        """Say how many objects of each kind cannot be read."""
        for kind, count in objects.items():
            self._operator.unreadable.labels(kind).set(count)

    def reconcile(self, seconds: float, outcome: str) -> None:
        """Note one reconciliation and how it ended ("success", "error", ...: a handful of words, never a message)."""
        self._operator.reconcile.labels(outcome).observe(seconds)

    def leader(self, leads: bool) -> None:
        """Say whether this replica holds the Lease. One that does not says nothing of pools."""
        self._operator.leader.set(leads)
        if not leads:
            self._queues.clear()
            for metric in (*self._pools.all, *self._workers.all):
                metric.clear()

    def workqueue(self, depth: int) -> None:
        """Say how many pools wait to be reconciled."""
        self._operator.workqueue.set(depth)
