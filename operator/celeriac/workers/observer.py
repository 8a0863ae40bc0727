"""What has to be remembered of a pool's Pods from look to look, so that a Pod and its report become a Worker.

The age of a report is the time since its counter changed, on the operator's own clock: the clocks of two machines are
never compared.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from celeriac.brokers.agents import WorkerReport
from celeriac.cluster.records import PodRecord
from celeriac.workers.worker import Worker, Workers

STALE_SECONDS = 5.0
"""A report that has not changed for so long is old: it comes every second, and a busy machine skips one or two."""
MISSING_SECONDS = 30.0
"""A Pod that has been ready for so long without any report runs no agent, or reports to another place."""
RESTLESS_SECONDS = 5.0
"""A worker that cannot drain and has held something for so long runs a long task: another one may be at rest sooner."""
DEAF_SECONDS = 10.0
"""A Pod deleted so long ago whose worker goes on has not heard SIGTERM: a kubelet sends it within a second or two."""
SETTLE_SECONDS = 1.0
"""A deletion cost that changed so long ago is believed to be known to the ReplicaSet controller, by its own watch."""


@dataclass(frozen=True, slots=True)
class _Cost:
    """The deletion cost of one Pod, those just before, and when it last changed (monotonic seconds)."""

    now: int = 0
    recent: frozenset[int] = frozenset()
    changed_at: float = -math.inf

    def after(self, cost: int, now: float) -> "_Cost":
        """Take over a look at the Pod. A new Pod has no cost that the controller would have to see."""
        recent = self.recent if now - self.changed_at < SETTLE_SECONDS else frozenset()
        if cost == self.now:
            return _Cost(cost, recent, self.changed_at)
        return _Cost(cost, (recent | {self.now}) - {cost}, now)


@dataclass(slots=True)
class _Seen:
    """The last state of one Pod's report. `changed_at` in monotonic seconds."""

    process: str
    counter: int
    changed_at: float


class Observer:
    """Remembers of one pool's Pods when a report or cost last changed, since when each is ready, drains, is deleted."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._ready_since: dict[str, float] = {}
        self._begun: frozenset[str] = frozenset()
        self._at_rest: dict[str, float] = {}
        self._costs: dict[str, _Cost] = {}
        self._deleted: dict[str, float] = {}
        self._draining: dict[str, float] = {}

    def observe(
        self,
        pods: Sequence[PodRecord],
        reports: Mapping[str, WorkerReport],
        marks: Mapping[str, str],
        slots: int,
        now: float,
        unreadable: Collection[str] = (),
        *,
        drains: bool = True,
    ) -> Workers:
        """Join the Pods with the reports read at `now` (monotonic seconds).

        `unreadable`: uids of Pods whose report cannot be understood. `drains`: whether the pool asks for draining.
        """
        uids = {pod.uid for pod in pods}
        self._seen = {uid: seen for uid, seen in self._seen.items() if uid in uids}
        self._ready_since = {pod.uid: self._ready_since.get(pod.uid, now) for pod in pods if pod.ready}
        self._begun = (self._begun & uids) | {pod.uid for pod in pods if pod.ready or pod.uid in reports}
        self._costs = {pod.uid: self._costs.get(pod.uid, _Cost()).after(pod.deletion_cost, now) for pod in pods}
        self._deleted = {pod.uid: self._deleted.get(pod.uid, now) for pod in pods if pod.terminating}
        workers = [self._worker(pod, reports.get(pod.uid), slots, now) for pod in pods]
        self._at_rest = {
            each.pod.uid: now if each.quiet is not False else self._at_rest.get(each.pod.uid, now) for each in workers
        }
        found = Workers(
            tuple(
                replace(
                    each,
                    unreadable=each.pod.uid in unreadable,
                    drains=drains,
                    restless=now - self._at_rest[each.pod.uid] >= RESTLESS_SECONDS,
                    unheard=now - self._deleted.get(each.pod.uid, now) >= DEAF_SECONDS,
                )
                for each in workers
            ),
            marks,
        )
        self._draining = {pod.uid: self._draining.get(pod.uid, now) for pod in found.marked}
        longest = max((now - since for since in self._draining.values()), default=0.0)
        return replace(found, oldest_drain_seconds=longest)

    def _worker(self, pod: PodRecord, report: WorkerReport | None, slots: int, now: float) -> Worker:
        seen, begun, costs = self._seen.get(pod.uid), pod.uid in self._begun, self._costs[pod.uid].recent
        if report is None:
            since = max(self._ready_since.get(pod.uid, now), seen.changed_at if seen else -math.inf)
            missing = now - since >= MISSING_SECONDS
            return Worker(pod, None, False, slots, missing, reported=seen is not None, begun=begun, recent_costs=costs)
        if seen is None or (seen.process, seen.counter) != (report.process, report.counter):
            seen = self._seen[pod.uid] = _Seen(report.process, report.counter, now)
        return Worker(pod, report, now - seen.changed_at < STALE_SECONDS, slots, begun=begun, recent_costs=costs)
