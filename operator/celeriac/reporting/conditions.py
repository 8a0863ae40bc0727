"""The conditions of a pool: one function each, in the order in which a person reads them; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from celeriac.api.reasons import Reason
from celeriac.autoscaling.outcome import Outcome
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.cluster.records import DeploymentRecord, PodRecord
from celeriac.pool.model import InvalidPool
from celeriac.scaling.policy import Mode
from celeriac.watching.store import KnownPool

SCALING_LIMITED = "ScalingLimited"
DRAINING = "Draining"


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


@dataclass(frozen=True, slots=True)
class View:
    """All that the status of one pool is made from.

    broker          None: readable; otherwise why not
    refusal         why the Deployment could not be applied
    scale_refusal   why the replicas could not be written
    """

    known: KnownPool
    deployment: DeploymentRecord | None = None
    pods: Sequence[PodRecord] = ()
    outcome: Outcome | None = None
    broker: BrokerDoubt | None = None
    refusal: Condition | None = None
    scale_refusal: str | None = None


def conditions(view: View) -> list[Condition]:
    """All conditions of a pool, in the order in which a person reads them."""
    return [
        _ready(view),
        _progressing(view),
        _broker_reachable(view),
        _scaling_active(view),
        _scaling_limited(view),
        _draining(view),
    ]


def _ready(view: View) -> Condition:
    trouble = _trouble(view)
    if trouble is not None:
        return trouble
    deployment = view.deployment
    if deployment is None:
        why = "waits for the broker's Secret: see condition BrokerReachable" if view.broker else "is being created"
        return Condition("Ready", "Unknown", Reason.PODS_STARTING, f"the Deployment {why}")
    if not deployment.spec_replicas:
        return Condition.of(
            "Ready", True, Reason.SCALED_TO_ZERO, "no replicas wanted; a task in the queues brings them"
        )
    counts = f"{deployment.ready} of {deployment.spec_replicas} replicas are ready"
    if deployment.ready:
        return _wrong_workers(view) or Condition.of("Ready", True, Reason.READY, counts)
    return Condition.of("Ready", False, Reason.PODS_STARTING, counts)


def _trouble(view: View) -> Condition | None:
    """What keeps the pool from running, the first in the order in which things must be mended."""
    if isinstance(view.known.spec, InvalidPool):
        return Condition.of("Ready", False, Reason.INVALID_SPEC, str(view.known.spec))
    if view.refusal is not None:
        return view.refusal
    deployment = view.deployment
    if deployment is None or not deployment.spec_replicas:
        return None
    if deployment.replica_failure:
        return _refused_pod(deployment.replica_failure)
    problems = [pod.problem for pod in view.pods if pod.problem is not None and not pod.terminating]
    if not problems:
        return None
    counted: dict[str, int] = {}
    for problem in problems:
        counted[problem.reason] = counted.get(problem.reason, 0) + 1
    worst = max(counted, key=lambda reason: counted[reason])
    message = next(problem.message for problem in problems if problem.reason == worst)
    return Condition.of("Ready", False, worst, f"{counted[worst]} pod(s): {message}")


def _refused_pod(message: str) -> Condition:
    if "exceeded quota" in message:
        cure = "raise the ResourceQuota, or lower spec.template.spec.resources or spec.scaling.maxReplicas"
        return Condition.of("Ready", False, Reason.QUOTA_EXCEEDED, f"{message}; {cure}")
    if "violates PodSecurity" in message:
        cure = "set spec.podSecurity: Restricted, or relax the namespace's pod-security label"
        return Condition.of("Ready", False, Reason.POD_SECURITY_REFUSED, f"{message}; {cure}")
    return Condition.of("Ready", False, Reason.POD_REFUSED, message)


def _progressing(view: View) -> Condition:
    deployment = view.deployment
    if deployment is None:
        return Condition.of("Progressing", False, Reason.STABLE, "no Deployment yet")
    if deployment.rollout_in_progress:
        message = f"{deployment.updated} of {deployment.spec_replicas} replicas run the current template"
        return Condition.of("Progressing", True, Reason.ROLLING_OUT, message)
    if deployment.ready < deployment.spec_replicas:
        message = f"{deployment.ready} of {deployment.spec_replicas} replicas are ready"
        return Condition.of("Progressing", True, Reason.PODS_STARTING, message)
    return Condition.of("Progressing", False, Reason.STABLE, "every replica runs the current template")


def _broker_reachable(view: View) -> Condition:
    if view.broker is not None:
        return Condition.of("BrokerReachable", False, view.broker.reason, str(view.broker))
    if isinstance(view.known.spec, InvalidPool):
        return Condition("BrokerReachable", "Unknown", Reason.INVALID_SPEC, "the spec is invalid: see condition Ready")
    return Condition.of("BrokerReachable", True, Reason.BROKER_READABLE, "the queues are read")


def _scaling_active(view: View) -> Condition:
    if isinstance(view.known.spec, InvalidPool):
        return Condition.of("ScalingActive", False, Reason.INVALID_SPEC, "the spec is invalid: see condition Ready")
    if view.scale_refusal is not None:
        message = f"the replicas cannot be written: {view.scale_refusal}; mend what forbids it"
        return Condition.of("ScalingActive", False, Reason.FAILED_UPDATE_SCALE, message)
    if view.outcome is None:
        return Condition("ScalingActive", "Unknown", Reason.PODS_STARTING, "there is no Deployment to be scaled yet")
    if view.known.spec.policy.mode is Mode.DRY_RUN:
        return Condition.of("ScalingActive", False, Reason.DRY_RUN, "scaling.mode is DryRun: decided, never done")
    decision = view.outcome.decision
    reason = Reason.SCALING if decision.active else decision.reason
    message = "replicas follow the queues" if decision.active else decision.message
    return Condition.of("ScalingActive", decision.active, reason, message)


def _scaling_limited(view: View) -> Condition:
    limit = view.outcome.decision.limit if view.outcome else None
    if limit is None:
        return Condition.of(
            SCALING_LIMITED, False, Reason.DESIRED_WITHIN_RANGE, "the desired count is within the acceptable range"
        )
    return Condition.of(SCALING_LIMITED, True, limit.reason, limit.message)


def _draining(view: View) -> Condition:
    workers = view.outcome.workers if view.outcome else None
    if workers is None or not workers.marked:
        return Condition.of(DRAINING, False, Reason.NOT_DRAINING, "no worker is being drained")
    running = sum(pod.running for pod in workers.marked)
    message = (
        f"{len(workers.marked)} workers take no new task and are removed when theirs have ended ({running} running)"
    )
    return Condition.of(DRAINING, True, Reason.DRAINING, message)


def _wrong_workers(view: View) -> Condition | None:
    """Workers that run, but not as the spec says: what they do is right, what scaling makes of it may not be."""
    trouble = view.outcome.trouble if view.outcome else None
    if trouble is None or view.deployment is None or view.deployment.rollout_in_progress:
        return None  # during a rollout old workers still match the old template
    return Condition.of("Ready", False, trouble.reason, trouble.message)
