"""All that the status of one pool is made from, and the form in which its conditions are told."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from celeriac.api.reasons import Reason
from celeriac.autoscaling.outcome import Outcome
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.cluster.records import DeploymentRecord, PodRecord
from celeriac.pool.model import WorkerPool
from celeriac.scaling.policy import Policy
from celeriac.watching.store import KnownPool

READY = "Ready"
RECONCILING = "Reconciling"
STALLED = "Stalled"
BROKER_REACHABLE = "BrokerReachable"
BROKER_DURABLE = "BrokerDurable"
SCALING_ACTIVE = "ScalingActive"
SCALING_LIMITED = "ScalingLimited"
DRAINING = "Draining"
DRAIN_LONG_ENOUGH = "DrainLongEnough"
WORKERS_RESPONDING = "WorkersResponding"
AGENT_DEGRADED = "AgentDegraded"
LATE_TASKS_SAFE = "LateTasksSafe"
PODS_END = "PodsEnd"
QUEUE_LOOKS_MISSPELLED = "QueueLooksMisspelled"

ASLEEP = frozenset({Reason.SCALED_TO_ZERO, Reason.WAKING_UP})
"""Reasons of Ready while a pool is at zero, or on its way back from there."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A metav1.Condition without its times, which `build_status` adds."""

    type: str
    status: str
    reason: str
    message: str

    @classmethod
    def of(cls, type_: str, holds: bool, reason: str, message: str) -> "Condition":
        """A condition whose status is known."""
        return cls(type_, "True" if holds else "False", reason, message)

    @classmethod
    def unknown(cls, type_: str, reason: str, message: str) -> "Condition":
        """A condition of which nobody can say whether it holds."""
        return cls(type_, "Unknown", reason, message)


@dataclass(frozen=True, slots=True)
class View:
    """What is known of one pool now.

    deployment      its own one, None while there is none
    broker          None: readable; otherwise why not
    refusal         why the Deployment could not be applied
    scale_refusal   why the replicas could not be written
    rival           the field manager that writes the replicas, too
    operator        whose it is, where several operators share a cluster
    missing         what its volumes want and is not there, by kind and name
    misspelled      which of its queues looks like a slip; None where none does
    uncounted       why what its agents count of tasks cannot be read; None where it can
    slept           whether it was at zero, or on its way back from there, when its status was last written
    """

    known: KnownPool
    deployment: DeploymentRecord | None = None
    pods: Sequence[PodRecord] = ()
    outcome: Outcome | None = None
    broker: BrokerDoubt | None = None
    refusal: Condition | None = None
    scale_refusal: str | None = None
    rival: str | None = None
    operator: str = ""
    missing: Sequence[str] = ()
    misspelled: str | None = None
    uncounted: str | None = None
    slept: bool = False

    @property
    def policy(self) -> Policy | None:
        """What its owner asked for; None where the spec is invalid."""
        return self.known.spec.policy if isinstance(self.known.spec, WorkerPool) else None

    @property
    def broker_refusal(self) -> BrokerDoubt | None:
        """What the broker refuses although it can be read."""
        return self.outcome.refusal if self.outcome else None

    @property
    def wanted(self) -> int:
        """Replicas that the Deployment is to have."""
        return self.deployment.spec_replicas if self.deployment else 0

    @property
    def ready(self) -> int:
        """Replicas that consume."""
        return self.deployment.ready if self.deployment else 0

    @property
    def floor(self) -> int:
        """Replicas that the spec asks for, whatever the queues hold."""
        policy = self.policy
        if policy is None:
            return 0
        return policy.min_replicas if policy.pinned_replicas is None else policy.pinned_replicas

    @property
    def enough(self) -> bool:
        """Whether as many replicas consume as the spec asks for, and at least one: what is missing is for the load."""
        settled = self.deployment is not None and not self.deployment.rollout_in_progress
        return settled and self.ready >= max(1, self.floor)

    @property
    def waking(self) -> bool:
        """Whether it is brought back from zero for its queues: that is no loss of what worked."""
        return self.slept and self.floor == 0 and self.ready == 0


def unheard(view: View, type_: str) -> Condition:
    """The condition of this type while workers cannot be heard: the broker cannot be read, or there are none yet."""
    if view.broker is not None:
        return Condition.unknown(type_, Reason.HOLDING, "the reports cannot be read: see condition BrokerReachable")
    return Condition.unknown(type_, Reason.CREATING, "there is no Deployment yet whose workers could report")


def invalid(type_: str) -> Condition:
    """The condition of this type while the spec is one that cannot be run."""
    return Condition.unknown(type_, Reason.INVALID_SPEC, "the spec is invalid: see condition Ready")


def is_asleep(status: Mapping[str, Any]) -> bool:
    """Whether this status tells of a pool at zero that has nothing to do."""
    return _is_ready_for(status, {Reason.SCALED_TO_ZERO})


def slept(status: Mapping[str, Any]) -> bool:
    """Whether this status tells of a pool at zero, or on its way back from there."""
    return _is_ready_for(status, ASLEEP)


def _is_ready_for(status: Mapping[str, Any], reasons: Set[Reason]) -> bool:
    """Whether this status says Ready for one of these reasons."""
    found = (each for each in status.get("conditions") or () if each["type"] == READY)
    return any(each["status"] == "True" and each["reason"] in reasons for each in found)
