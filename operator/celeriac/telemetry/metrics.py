"""Every Prometheus metric of the operator: one owner for their names, labels and meaning.

The other rooms say what happened in words of the domain (`metrics.scale(key, "up", 3)`); only this module knows how
Prometheus spells it. A Metrics object has a registry of its own and is passed around: there is no global state.

Unknown is never zero: a figure that could not be read has no series, so a graph shows a gap instead of a false nought.
"""

from collections.abc import Mapping
from enum import StrEnum

from prometheus_client import CollectorRegistry, Info
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from celeriac import __version__
from celeriac.api.keys import PoolKey
from celeriac.brokers.readings import QueueReading
from celeriac.brokers.task_counts import Row
from celeriac.telemetry.broker_label import broker_label
from celeriac.telemetry.families import OperatorFamilies, PoolFamilies, WorkerFamilies
from celeriac.telemetry.tasks import TaskFamilies


class Direction(StrEnum):
    """Which way the replicas of a pool went."""

    UP = "up"
    DOWN = "down"


class Metrics:
    """The operator's metrics. No method raises, each is cheap. One thread calls them; any may read the registry."""

    def __init__(self, *, exporter_names: bool = True) -> None:
        """`exporter_names`: say what is known of tasks also by the names of celery-exporter."""
        self.registry = CollectorRegistry()
        self._pools = PoolFamilies(self.registry)
        self._workers = WorkerFamilies(self.registry)
        self._tasks = TaskFamilies(self.registry, exporter_names=exporter_names)
        self._operator = OperatorFamilies(self.registry)
        build = Info("celeriac_build", "The version of the operator that runs.", registry=self.registry)
        build.info({"version": __version__})
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def pool(
        self,
        key: PoolKey,
        *,
        desired: int,
        replicas: int,
        ready: int,
        slots: int,
        running: int | None = None,
        stuck: int = 0,
        target_wait: float | None = None,
        revision: int | None = None,
    ) -> None:
        """Say how large a pool is (pods), what it can run at a time (`slots`, tasks) and runs; None: not known.

        `stuck`: pods that are deleted and do not go away; `target_wait`: seconds that a task may wait, by the target;
        `revision`: of the Deployment.
        """
        self._pools.desired.set(key, desired)
        self._pools.replicas.set(key, replicas)
        self._pools.ready.set(key, ready)
        self._pools.slots.set(key, slots)
        self._pools.stuck.set(key, stuck)
        self._pools.running.set(key, running)
        self._pools.target_wait.set(key, target_wait)
        self._pools.revision.set(key, revision)
        for direction in Direction:
            self._pools.scaled.add(key, direction, 0)

    def queues(self, key: PoolKey, readings: Mapping[str, QueueReading]) -> None:
        """Say what the pool's queues hold, in messages. A queue that is not named any more loses its series."""
        self._pools.waiting.set(key, {queue: each.waiting for queue, each in readings.items()})
        self._pools.held.set(key, {queue: each.held for queue, each in readings.items()})
        self._pools.scheduled.set(key, {queue: each.scheduled for queue, each in readings.items()})
        self._pools.dead.set(key, {queue: each.dead for queue, each in readings.items()})

    def queues_unknown(self, key: PoolKey) -> None:
        """Drop what was said of the pool's queues and running tasks: the broker cannot be read."""
        self.queues(key, {})
        self._pools.running.forget(key)
        self.workers(key, {})
        self.missing_hooks(key, {})

    def workers(self, key: PoolKey, figures: Mapping[str, float | None]) -> None:
        """Say what the reports of the pool's workers tell, by the names of `WorkerFamilies.figures`.

        What is None or not given has no series.
        """
        for name, gauge in self._workers.figures.items():
            gauge.set(key, figures.get(name))

    def missing_hooks(self, key: PoolKey, hooks: Mapping[str, int]) -> None:
        """Say how many of the pool's workers miss each hook; one that none misses any more loses its series."""
        self._workers.missing_hooks.set(key, dict(hooks))

    def tasks(self, key: PoolKey, rows: Mapping[str, Row]) -> None:
        """Say how the pool's tasks have ended so far, by names that may be shown: none of these numbers ever falls."""
        self._tasks.set(key, rows)

    def tasks_unread(self, key: PoolKey) -> None:
        """Say that this cannot be read, and stands as it was."""
        self._tasks.unread.set(key, 1)

    def restored(self, key: PoolKey, queued: int, dead: int) -> None:
        """Count the messages of a worker that ended: put back in their queues, or made dead letters."""
        self._workers.restored.add(key, "queue", queued)
        self._workers.restored.add(key, "dead", dead)

    def restarted(self, key: PoolKey, workers: int) -> None:
        """Count workers that are started anew because they fetch nothing."""
        self._workers.restarted.add(key, workers)

    def recovery_failure(self, key: PoolKey, reason: str) -> None:
        """Count that something which the pool's ended workers held could not be looked for, or not be put back."""
        self._workers.recovery_failures.add(key, reason, 1)

    def unread_registrations(self, pools: Mapping[str, int]) -> None:
        """Say of how many pools not all registered workers are known, by reason."""
        self._operator.unread_registrations.clear()
        for reason, count in pools.items():
            self._operator.unread_registrations.labels(reason).set(count)

    def strange_pools(self, count: int) -> None:
        """Say how many pools in registries are not heeded."""
        self._operator.strange_pools.set(count)

    def strange_pods(self, count: int) -> None:
        """Say how many brokers that only Pods name are not connected to."""
        self._operator.strange_pods.set(count)

    def given_up(self) -> None:
        """Count a deleted pool whose broker is not looked at any more."""
        self._operator.given_up.inc()

    def condition(self, key: PoolKey, type: str, status: str) -> None:
        """Say which status ("True", "False" or "Unknown") a condition of the pool has."""
        self._pools.condition.set(key, type, status)

    def decision(self, key: PoolKey, reason: str) -> None:
        """Count one scaling decision; `reason` is a `Reason`."""
        self._pools.decisions.add(key, reason, 1)
        self._pools.decision.set(key, {reason: 1})

    def scale(self, key: PoolKey, direction: Direction, pods: int) -> None:
        """Count the pods of one change of the replicas."""
        self._pools.scaled.add(key, direction, pods)

    def forget(self, key: PoolKey) -> None:
        """Remove all series of a pool that was deleted."""
        for family in (*self._pools.all, *self._workers.all, *self._tasks.all):
            family.forget(key)

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
            for family in (*self._pools.all, *self._workers.all, *self._tasks.all):
                family.clear()

    def workqueue(self, depth: int) -> None:
        """Say how many pools wait to be reconciled."""
        self._operator.workqueue.set(depth)
