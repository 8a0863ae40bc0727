"""What a tick sees of one pool, and what it wants of it: plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from celeriac.api.notices import Notice
from celeriac.autoscaling.drain_marker import NO_MARKING, Marking
from celeriac.autoscaling.outcome import Outcome
from celeriac.autoscaling.rollouts import ReplicaSets
from celeriac.autoscaling.scale_writer import Change
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.readings import PoolReading
from celeriac.cluster.records import DeploymentRecord, PodRecord
from celeriac.pool.model import WorkerPool
from celeriac.scaling.decision import Retirement


@dataclass(frozen=True, slots=True)
class Sight:
    """All that is known of one pool at one tick.

    reading     of its queues, or why there is none
    deployment  None while there is none that belongs to it
    unresolved  a worker may be gone with messages that are not back yet
    replica_sets  of the Deployment, during a rollout; None while they are not known
    revision    grows when the spec, the Deployment or a Pod of it changes
    """

    pool: WorkerPool
    reading: PoolReading | BrokerDoubt
    deployment: DeploymentRecord | None = None
    pods: Sequence[PodRecord] = ()
    unresolved: bool = False
    replica_sets: ReplicaSets | None = None
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """What one tick wants of one pool.

    outcome  what was found and decided; None without a Deployment
    change   of the replicas, None where they stay
    marking  of Pods that are to go, or to stay after all
    retire   old Pods that make room in a rollout, with the name of their ReplicaSet
    notices  to be told
    dead     new dead letters by queue, whose tasks are to be told
    is_news  whether the status shall say it at once
    """

    outcome: Outcome | None = None
    change: Change | None = None
    marking: Marking = NO_MARKING
    retire: tuple[str, Retirement] | None = None
    notices: tuple[Notice, ...] = ()
    dead: Mapping[str, int] = field(default_factory=dict)
    is_news: bool = False

    @property
    def wants_nothing(self) -> bool:
        """Whether nothing comes of it: nothing to do, to tell, or to try again."""
        return self.change is None and not self.notices and not self.is_news and self.wants_at_most_a_change

    @property
    def wants_at_most_a_change(self) -> bool:
        """Whether all that is to be done, or to be tried again, is a change of the replicas."""
        return self.retire is None and not self.marking and not self.dead
