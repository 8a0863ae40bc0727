"""The families of what the agents count of tasks: one row of plain numbers for each name, which many families show."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from celeriac.api.keys import PoolKey
from celeriac.brokers.task_counts import BOUNDS, BUCKETS, RAN, STATES, WAITED, Row
from celeriac.telemetry.series import PoolFamily, PoolGauge, PoolSeries

Named = Mapping[str, Row]
"""Rows by the names of tasks."""
LE: Final = (*map(floatToGoString, BOUNDS), "+Inf")


class TaskStates(PoolSeries[Named]):
    """A counter by the name of the task and the state in which it ended."""

    type: ClassVar = "counter"

    def _series(self, value: Named) -> Iterator[tuple[tuple[str, ...], float]]:
        for name, row in value.items():
            for place, state in enumerate(STATES):
                yield (name, state), row[place]


class TaskState(PoolSeries[Named]):
    """A counter of one state by the name of the task."""

    type: ClassVar = "counter"

    def __init__(self, registry: CollectorRegistry, name: str, text: str, label: str, state: str) -> None:
        """`state` is one of STATES; `label` holds the name of a task."""
        self._place = STATES.index(state)
        super().__init__(registry, name, text, label)

    def _series(self, value: Named) -> Iterator[tuple[tuple[str, ...], float]]:
        for name, row in value.items():
            yield (name,), row[self._place]


class TaskHistogram(PoolFamily[Named]):
    """A histogram by the name of the task; one of which it knows nothing has no series."""

    type: ClassVar = "histogram"

    def __init__(self, registry: CollectorRegistry, name: str, text: str, label: str, first: int) -> None:
        """`first` is where it begins in a row; `label` holds the name of a task."""
        self._first = first
        super().__init__(registry, name, text, label)

    def _samples_of(self, key: PoolKey, value: Named) -> Iterator[Sample]:
        for name, row in value.items():
            buckets = row[self._first : self._first + BUCKETS]
            if any(buckets):
                labels = dict(zip(self._labels, (*key, name), strict=True))
                yield from self._of_one(labels, buckets, row[self._first + BUCKETS])

    def _of_one(self, labels: dict[str, str], buckets: Row, microseconds: int) -> Iterator[Sample]:
        total = 0
        for bound, number in zip(LE, buckets, strict=True):
            total += number
            yield Sample(f"{self._name}_bucket", labels | {"le": bound}, total)
        yield Sample(f"{self._name}_count", labels, total)
        yield Sample(f"{self._name}_sum", labels, microseconds / 1e6)


class TaskFamilies:
    """What is known of tasks by their names. `all` holds each metric that carries the labels of a pool."""

    def __init__(self, registry: CollectorRegistry, *, exporter_names: bool) -> None:
        """`exporter_names`: the same also by the names that Celery's users know from celery-exporter."""
        self.rows: tuple[PoolFamily[Named], ...] = (
            TaskStates(
                registry,
                "celeriac_tasks",
                "Tasks by how they ended: succeeded, failed, retried, revoked or rejected. One that is retried ends as"
                " such, and again later. The busiest names of a pool have series of their own, the rest is task=other.",
                "task",
                "state",
            ),
            TaskHistogram(
                registry,
                "celeriac_task_runtime_seconds",
                "How long tasks ran that succeeded, failed or were retried.",
                "task",
                RAN,
            ),
            TaskHistogram(
                registry,
                "celeriac_task_wait_seconds",
                "How long tasks waited for their start, since they were sent or their ETA came; only of messages that"
                " tell when that was.",
                "task",
                WAITED,
            ),
        )
        if exporter_names:
            self.rows += tuple(
                TaskState(
                    registry,
                    f"celery_task_{state}",
                    f"The same as celeriac_tasks_total with state={state}, by the name of celery-exporter.",
                    "name",
                    state,
                )
                for state in STATES
            )
            self.rows += (
                TaskHistogram(
                    registry,
                    "celery_task_runtime",
                    "The same as celeriac_task_runtime_seconds, by the name of celery-exporter.",
                    "name",
                    RAN,
                ),
            )
        self.unread = PoolGauge(
            registry,
            "celeriac_pool_unread_task_counts",
            "1 while the counts of the pool's tasks cannot be read, so that its task metrics stand still.",
        )
        self.all: tuple[PoolFamily[Any], ...] = (*self.rows, self.unread)

    def set(self, key: PoolKey, rows: Named) -> None:
        """Say how the tasks of a pool have ended, by their names."""
        self.unread.set(key, 0)
        for family in self.rows:
            family.put(key, rows)
