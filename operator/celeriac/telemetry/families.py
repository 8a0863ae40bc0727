"""The families of metrics: their names, labels and help."""

from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from celeriac.telemetry.series import PoolConditions, PoolCounter, PoolCounters, PoolFamily, PoolGauge, PoolGauges

# The tick is every 0.5 s, a status write may take the API server seconds: resolution where each of them lives.
FAST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
SLOW_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class PoolFamilies:
    """What is known of every pool. `all` holds each metric that carries the labels of a pool."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str) -> PoolGauge:
            return PoolGauge(registry, f"celeriac_{name}", text)

        def of_queues(name: str, text: str) -> PoolGauges:
            return PoolGauges(registry, f"celeriac_queue_{name}", text, "queue")

        self.desired = gauge("pool_desired_replicas", "Replicas that the last decision asked for, in pods.")
        self.replicas = gauge("pool_replicas", "Replicas of the pool's Deployment (spec.replicas), in pods.")
        self.ready = gauge("pool_ready_replicas", "Pods of the pool that are Ready.")
        self.running = gauge(
            "pool_running_tasks",
            "Tasks that the pool's workers hold and have not finished; absent while the broker cannot be read.",
        )
        self.stuck = gauge(
            "pool_stuck_pods",
            "Pods that are Terminating and do not end: condition PodsEnd. No replica is kept for them.",
        )
        self.slots = gauge("pool_slots", "Tasks that the pool's replicas can run at the same time.")
        self.target_wait = gauge(
            "pool_target_wait_seconds",
            "How long a task may wait by the pool's target; absent where the target is a number of tasks per slot.",
        )
        self.revision = gauge(
            "pool_revision", "Revision of the pool's Deployment: it grows with each rollout; absent before the first."
        )
        self.waiting = of_queues(
            "waiting_tasks",
            "Messages in the queue's lists, all priorities together; those whose ETA has not come are left out of a "
            "short list. Pools that share a queue each report it: "
            "take the maximum by queue, not the sum.",
        )
        self.held = of_queues("held_tasks", "Messages of the queue that are due, at a worker and not acknowledged.")
        self.scheduled = of_queues(
            "scheduled_tasks", "Messages of the queue that a worker keeps until their ETA comes."
        )
        self.dead = of_queues(
            "dead_letters",
            "Messages in the queue's dead-letter list: each was running too often in workers that died.",
        )
        self.condition = PoolConditions(
            registry,
            "celeriac_pool_condition",
            "The conditions of the CeleryWorkerPool: 1 for the status that each type has, 0 for the others.",
            "type",
            "status",
        )
        self.decisions = PoolCounters(
            registry,
            "celeriac_pool_decisions",
            "Scaling decisions by their reason. A pool at rest, of which nothing changes, needs none at most ticks.",
            "reason",
        )
        self.decision = PoolGauges(
            registry,
            "celeriac_pool_decision",
            "1 for the reason of the last scaling decision; other reasons have no series.",
            "reason",
        )
        self.scaled = PoolCounters(
            registry,
            "celeriac_pool_scaled_pods",
            "Pods that the operator added (up) or removed (down) through /scale.",
            "direction",
        )
        self.all: tuple[PoolFamily[Any], ...] = (
            *(self.desired, self.replicas, self.ready, self.running, self.stuck, self.slots),
            *(self.target_wait, self.revision, self.decision),
            *(self.waiting, self.held, self.scheduled, self.dead, self.condition, self.decisions, self.scaled),
        )


class WorkerFamilies:
    """What the reports of a pool's workers tell. `figures` are known by the names that `Metrics.workers` takes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str) -> PoolGauge:
            return PoolGauge(registry, f"celeriac_pool_{name}", text)

        self.figures = {
            "reserved": gauge(
                "reserved_tasks", "Due messages that the pool's workers have received and not started (prefetched)."
            ),
            "agent_errors": gauge(
                "agent_errors", "What the agents in the pool's workers could not do since the start of each, in tries."
            ),
            "refused": gauge(
                "refused_workers",
                "Workers to which Redis refuses a write, by their own word: they keep it and try again.",
            ),
            "ending": gauge(
                "ending_tasks",
                "Tasks that run in pods which no ReplicaSet counts (Terminating, Failed, released): they end there, and"
                " call for no replica.",
            ),
            "silent": gauge(
                "silent_workers", "Workers that are ready and whose report has stood still for 30 s or longer."
            ),
            "not_fetching": gauge(
                "not_fetching_workers",
                "Workers with free slots that have taken none of the tasks in their queues for 45 s or longer.",
            ),
            "degraded": gauge(
                "degraded_workers", "Workers whose agent lacks something that its level needs: condition AgentDegraded."
            ),
            "draining": gauge("draining_pods", "Pods that take no new task and go when theirs have ended."),
            "oldest_drain_seconds": gauge(
                "oldest_drain_seconds",
                "For how long the operator has seen the pod drain that drains the longest; 0 where none does.",
            ),
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
        self.restored = PoolCounters(
            registry,
            "celeriac_pool_restored_messages",
            "Messages of workers that ended which were put back in their queues (queue), or made dead letters (dead).",
            "to",
        )
        self.recovery_failures = PoolCounters(
            registry,
            "celeriac_pool_recovery_failures",
            "Looks for what ended workers held, or tries to put it back, that failed for this pool, by their reason.",
            "reason",
        )
        self.restarted = PoolCounter(
            registry,
            "celeriac_pool_restarted_workers",
            "Workers that took none of the waiting tasks and were started anew.",
        )
        self.missing_hooks = PoolGauges(
            registry,
            "celeriac_pool_missing_hooks",
            "Workers whose agent misses this private part of Celery or kombu: condition AgentDegraded.",
            "hook",
        )
        self.all: tuple[PoolFamily[Any], ...] = (
            *self.figures.values(),
            self.missing_hooks,
            self.restored,
            self.recovery_failures,
            self.restarted,
        )


class OperatorFamilies:
    """What the operator knows of itself."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, labels: tuple[str, ...]) -> Counter:
            return Counter(f"celeriac_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()) -> Histogram:
            return Histogram(f"celeriac_{name}", text, labels, buckets=buckets, registry=registry)

        self.tick = histogram(
            "tick_duration_seconds",
            "Work of one autoscaling tick over all pools, in seconds that it holds the event loop; no waiting.",
            FAST_BUCKETS,
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
        self.unread_registrations = Gauge(
            "celeriac_unread_registrations",
            "Pools, deleted ones too, whose registered workers are not all known, by the reason: nobody can say what "
            "they hold.",
            ("reason",),
            registry=registry,
        )
        self.strange_pools = Gauge(
            "celeriac_strange_pools",
            "Pools in registries that are not heeded, as no pool of their namespace names that broker: see the log.",
            registry=registry,
        )
        self.strange_pods = Gauge(
            "celeriac_strange_pod_brokers",
            "Brokers that Pods name and no pool of theirs is known to have named: they are not connected to.",
            registry=registry,
        )
        self.given_up = Counter(
            "celeriac_given_up_pools_total",
            "Deleted pools whose broker could not be read for an hour: what their workers held stays there.",
            registry=registry,
        )
        self.leader = Gauge("celeriac_leader", "1 while this replica holds the Lease and acts.", registry=registry)
        self.workqueue = Gauge(
            "celeriac_workqueue_depth", "Pools that wait to be reconciled by this replica.", registry=registry
        )
