"""What there is to do, and what does it: the demand of a pool, and its Deployment with the Pods."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Demand:
    """What a pool has to do, read at one moment.

    waiting    due messages in the pool's queues (q)
    running    tasks delivered to a worker, not yet finished (a); without the agent that is the pool's share of
               `unacked`, prefetched messages included
    ending     tasks that run in Pods which no ReplicaSet counts: they end there, and call for no replica
    scheduled  messages held by workers for an ETA that has not come; no demand, but never to be dropped
    deferred   messages in the queues with an ETA that has not come
    next_eta_seconds  seconds until the earliest of the deferred ones is due, None while none is known
    held_elsewhere    messages of these queues that workers outside the pool hold
    agent      whether the pool's workers report what they run
    gives_back whether they give scheduled messages back when they are asked to drain
    refused    the broker is read and refuses writes: replicas may be added, and none removed
    exact      False where what is held is an estimate from a sample: nothing may then be assumed idle
    current_replicas  spec.replicas of the Deployment (p)
    arrival_rate      tasks per second, smoothed (lambda)
    runtime_seconds   mean seconds a task occupies a slot (R), None while unknown
    cold_start_seconds  seconds from a scale-up to a pod that consumes (C)
    """

    waiting: int
    running: int
    current_replicas: int
    ending: int = 0
    scheduled: int = 0
    deferred: int = 0
    next_eta_seconds: float | None = None
    held_elsewhere: int = 0
    agent: bool = False
    gives_back: bool = True
    exact: bool = True
    refused: bool = False
    arrival_rate: float = 0.0
    runtime_seconds: float | None = None
    cold_start_seconds: float = 0.0

    @property
    def at_work(self) -> int:
        """Tasks that are delivered and not finished, wherever."""
        return self.running + self.ending

    @property
    def idle(self) -> bool:
        """Whether it is certain that nothing waits and no worker holds anything."""
        return self.exact and not (self.waiting or self.running or self.scheduled or self.held_elsewhere)


@dataclass(frozen=True, slots=True)
class Doubt:
    """The demand could not be read. Unknown is never zero: replicas hold, or follow `fallback`.

    `since` is the moment of the first failed reading in a row; `reason` a `Reason`;
    `message` a sentence that names the cure.
    """

    current_replicas: int
    since: float
    reason: str
    message: str


MARKED_COST = -1000
"""Deletion cost of a marked pod, set together with the mark: below that of every pod without one, which is 0."""

RELEASED_COST = -2000
"""Deletion cost of a marked pod that holds nothing any more: below that of those which still drain."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One replica of a pool whose workers carry the agent, as observed; Terminating pods are no replicas any more.

    assigned     whether it has a node
    phase        of its status; Succeeded and Failed ones are no replicas either, and `plan` leaves them out
    cost         its annotation controller.kubernetes.io/pod-deletion-cost, 0 where it has none
    recent_costs  what it was just before: Kubernetes may not have seen the change yet
    marked       whether its annotation celeriac.dev/drain was seen
    drained      whether a fresh report says, with the token of that mark, that it holds nothing and takes nothing
    started      whether its worker may ever have taken a message: it has reported, or has been ready
    running      tasks that it runs; all its slots where its report is missing or old
    drainable    whether its agent drains
    quiet        whether a fresh report says that it holds nothing; without a drain it may take something at any moment.
                 None: nobody says so, or SIGTERM would not reach it
    restless     whether it has been told not to be at rest for some seconds
    created      Unix seconds
    replica_set  uid of the ReplicaSet that it belongs to
    unplaced     whether no node has room for it, and fewer other pods would give it some
    """

    uid: str
    name: str
    assigned: bool
    phase: str
    ready: bool
    cost: int = 0
    recent_costs: frozenset[int] = frozenset()
    marked: bool = False
    drained: bool = False
    started: bool = True
    running: int = 0
    drainable: bool = True
    quiet: bool | None = None
    restless: bool = False
    created: float = 0.0
    replica_set: str | None = None
    unplaced: bool = False

    @property
    def is_stopped_at_rest(self) -> bool:
        """Whether it cannot drain, and is told to hold nothing when it does."""
        return not self.drainable and self.quiet is not None


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout whose ReplicaSets are known.

    current  uid of the ReplicaSet of the new template: its pods are new, all others old
    sizes    spec.replicas of each ReplicaSet, by uid
    refused  new pods that are not created because a quota is full
    lacking_seconds  since when new pods have had no room, without a gap; None while they have
    still_seconds    since when no pod has come, gone, found a node or become ready
    ending   pods that end their tasks: no replicas any more, but they take up room. Those that are stuck are left out
    peak     most pods that had a node at a time since the rollout began
    freed    whether there were more pods once, those that end included: a quota that was full has room
    """

    current: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    refused: int = 0
    lacking_seconds: float | None = None
    still_seconds: float = 0.0
    ending: int = 0
    peak: int = 0
    freed: bool = False


@dataclass(frozen=True, slots=True)
class Workload:
    """What `plan` needs to know of the running Deployment.

    pods    in a pool without the agent only during a rollout
    agent   whether its pods can drain
    unseen  pods that the Deployment counts, but that were not seen yet: whatever they run is not known
    hidden  whether pods run tasks that nobody sees: those of an agent that the pool does not use any more
    rollout  None where there is none, or its ReplicaSets are not known
    """

    replicas: int
    rollout_in_progress: bool = False
    pods: tuple[Pod, ...] = ()
    agent: bool = False
    unseen: int = 0
    hidden: bool = False
    rollout: Rollout | None = None
