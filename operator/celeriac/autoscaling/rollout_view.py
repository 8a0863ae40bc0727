"""A rollout as `plan` sees it: ReplicaSets and pods joined, and what has to be remembered of them from tick to tick."""

from collections.abc import Sequence
from dataclasses import dataclass

from celeriac.autoscaling.rollouts import ReplicaSets, is_rolling
from celeriac.cluster.records import DeploymentRecord, PodRecord
from celeriac.scaling.workload import Pod, Rollout
from celeriac.workers.stuck import Stuck

LET_GO_SECONDS = 5.0
"""Between one new pod that has found room and the next that looks for some, the need for room is not over."""


@dataclass(slots=True)
class _Seen:
    """What was seen of the rollout to one ReplicaSet. Moments are monotonic seconds."""

    current: str = ""
    peak: int = 0
    most: int = 0
    lacking_since: float | None = None
    lacked_at: float = 0.0
    still: tuple[object, ...] = ()
    still_since: float = 0.0

    def note_lack(self, lacks: bool, now: float) -> None:
        """Take over whether new pods lack room."""
        if lacks:
            self.lacked_at = now
            self.lacking_since = now if self.lacking_since is None else self.lacking_since
        elif now - self.lacked_at >= LET_GO_SECONDS:
            self.lacking_since = None

    def note_change(self, still: tuple[object, ...], now: float) -> None:
        """Take over what would be the same if nothing had changed."""
        if still != self.still:
            self.still, self.still_since = still, now


class RolloutView:
    """Remembers of one pool's rollout since when new pods lack room, and since when nothing has changed."""

    def __init__(self) -> None:
        self._seen = _Seen()

    def look(
        self,
        deployment: DeploymentRecord,
        sets: ReplicaSets | None,
        records: Sequence[PodRecord],
        pods: Sequence[Pod],
        stuck: Sequence[Stuck],
        now: float,
    ) -> Rollout | None:
        """The rollout at `now` (monotonic seconds); None without one, or while not all is known of it.

        For Pods that are stuck in Terminating nobody waits: the room that they take up may never be free again.
        """
        current = _current(deployment, sets) if is_rolling(deployment, records) else None
        if current is None or sets is None or any(pod.replica_set not in sets for pod in pods):
            return None
        if current != self._seen.current:
            self._seen = _Seen(current)
        seen, new = self._seen, [pod for pod in pods if pod.replica_set == current]
        refused = max(0, sets[current].replicas - len(new)) if deployment.full_quota else 0
        ending = {pod.name for pod in records if pod.terminating and not pod.all_terminated}
        seen.peak = max(seen.peak, sum(not pod.unplaced for pod in pods))
        seen.most = max(seen.most, len(pods) + len(ending))
        seen.note_lack(bool(refused) or any(pod.unplaced for pod in new), now)
        seen.note_change((len(ending), *sorted((pod.uid, pod.unplaced, pod.ready) for pod in pods)), now)
        return Rollout(
            current,
            {uid: each.replicas for uid, each in sets.items()},
            refused=refused,
            lacking_seconds=None if seen.lacking_since is None else now - seen.lacking_since,
            still_seconds=now - seen.still_since,
            ending=len(ending - {each.pod for each in stuck}),
            peak=seen.peak,
            freed=len(pods) + len(ending) < seen.most,
        )


def _current(deployment: DeploymentRecord, sets: ReplicaSets | None) -> str | None:
    """The ReplicaSet of the present template; None where the controller has not told of it, or may not act on it."""
    unseen = not deployment.revision or deployment.observed_generation < deployment.generation
    if not sets or unseen or deployment.paused:
        return None
    return next((uid for uid, each in sets.items() if each.revision == deployment.revision), None)
