"""What keeps a pool from being what its spec asks for, in the order in which it has to be mended; pure."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from celeriac.api.reasons import Reason
from celeriac.api.words import first_of
from celeriac.cluster.records import DeploymentRecord
from celeriac.cluster.refusals import refused_pod
from celeriac.pool.model import InvalidPool, NotAllowed
from celeriac.reporting.fewer import fewer
from celeriac.reporting.view import View
from celeriac.scaling.policy import Mode

LIMITS: Final = frozenset({Reason.QUOTA_EXCEEDED, Reason.UNSCHEDULABLE})
"""Where the pool has all that its spec asks for, these are bounds of the cluster (condition ScalingLimited)."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing that is in a pool's way.

    kind      what shares a clock: a broker that first times out and then refuses is one trouble
    blocks    whether the pool cannot do its work meanwhile, so that it is not Ready
    progress  grows while the obstacle is being overcome, and each growth gives it its whole time anew
    """

    kind: str
    reason: Reason
    message: str
    blocks: bool
    progress: int = 0


def obstacles(view: View) -> list[Obstacle]:
    """All obstacles of a pool, none where it is what its spec asks for."""
    if isinstance(view.known.spec, InvalidPool):
        reason = Reason.NOT_ALLOWED if isinstance(view.known.spec, NotAllowed) else Reason.INVALID_SPEC
        return [Obstacle("spec", reason, str(view.known.spec), blocks=True)]
    found = [*_of_the_operator(view)]
    if view.deployment is None:
        return found or [Obstacle("creation", Reason.CREATING, "the Deployment is being created", blocks=True)]
    return [*found, *_of_the_pods(view, view.deployment), *_workers(view), *_under_way(view, view.deployment)]


def cluster_limit(view: View) -> tuple[Reason, str] | None:
    """Why the cluster does not give a pool that works all the replicas that its load asks for: a reason, a sentence."""
    if view.deployment is None or not view.enough or view.ready >= view.wanted:
        return None
    counts = f"{view.ready} of {view.wanted} replicas are ready"
    found = (each for each in _of_pods(view, view.deployment) if each.reason in LIMITS)
    return next(((each.reason, f"{counts}; {each.message}") for each in found), None)


def _of_the_operator(view: View) -> Iterator[Obstacle]:
    """What the operator cannot do for the pool."""
    if view.refusal is not None:
        reason = Reason(view.refusal.reason)
        blocks = view.ready == 0 or reason != Reason.API_SERVER_ERROR  # which may well pass by itself
        yield Obstacle("children", reason, view.refusal.message, blocks)
    broker = view.broker or view.broker_refusal
    if broker is not None:
        yield Obstacle("broker", broker.reason, str(broker), blocks=view.ready == 0)
    if view.scale_refusal is not None:
        message = f"the replicas cannot be written: {view.scale_refusal}; mend what forbids it"
        yield Obstacle("scale", Reason.FAILED_UPDATE_SCALE, message, blocks=view.ready == 0)


def _of_the_pods(view: View, deployment: DeploymentRecord) -> Iterator[Obstacle]:
    """What keeps Pods from being made, or from running, but for bounds of the cluster that matter to the load alone."""
    if deployment.paused:
        message = (
            "the Deployment is paused, so that no change of the spec reaches its pods: kubectl rollout resume"
            f" deployment/{deployment.key.name}"
        )
        yield Obstacle("paused", Reason.DEPLOYMENT_PAUSED, message, blocks=_sleeps_no_more(view))
    if view.wanted:
        yield from (each for each in _of_pods(view, deployment) if not (view.enough and each.reason in LIMITS))


def _of_pods(view: View, deployment: DeploymentRecord) -> Iterator[Obstacle]:
    """Refused Pods, then what keeps Pods from running, that of most Pods first."""
    missing = deployment.ready < deployment.spec_replicas or deployment.rollout_in_progress
    if deployment.replica_failure and missing:
        reason, message = refused_pod(deployment.replica_failure)
        more = fewer(view) if deployment.full_quota else ""
        yield Obstacle("refused", reason, f"{message}{more}", blocks=view.ready == 0)
    problems = [(pod.problem, pod.unplaced) for pod in view.pods if pod.problem is not None and not pod.terminating]
    counted = Counter(problem.reason for problem, _ in problems)
    for reason in sorted(counted, key=lambda each: -counted[each]):
        problem, unplaced = next(each for each in problems if each[0].reason == reason)
        message = f"{problem.message}{fewer(view) if unplaced else ''}"
        # A pool that wakes may have to wait for a node that an autoscaler brings.
        blocks = view.ready == 0 and not (view.waking and reason == Reason.UNSCHEDULABLE)
        yield Obstacle(reason, reason, f"{counted[reason]} pod(s): {message}", blocks)
    if view.missing and Reason.CONTAINER_CONFIG_ERROR not in counted:
        message = (
            f"the volumes of the pods cannot be made, as there is no {first_of(view.missing, 3)}: create it in the"
            " pool's namespace, or correct spec.template.spec.volumes"
        )
        reason = Reason.CONTAINER_CONFIG_ERROR
        yield Obstacle(reason, reason, message, blocks=view.ready == 0)


def _workers(view: View) -> Iterator[Obstacle]:
    """Workers that run, but not as the spec says: what they do is right, what scaling makes of it may not be."""
    trouble = view.outcome.trouble if view.outcome else None
    if trouble is None or not view.ready or view.deployment is None or view.deployment.rollout_in_progress:
        return  # during a rollout old workers still match the old template
    yield Obstacle("workers", trouble.reason, trouble.message, blocks=True)


def _under_way(view: View, deployment: DeploymentRecord) -> Iterator[Obstacle]:
    """What needs nothing but time."""
    if deployment.updated != deployment.replicas:
        message = f"{deployment.updated} of {deployment.replicas} replicas run the current template{_setting_up(view)}"
        progress = 2 * deployment.updated + deployment.ready - deployment.replicas
        yield Obstacle("rollout", Reason.ROLLING_OUT, message, view.ready == 0, progress)
    elif deployment.observed_generation < deployment.generation:
        message = "Kubernetes has not seen the last change of the Deployment yet"
        yield Obstacle("rollout", Reason.ROLLING_OUT, message, blocks=_sleeps_no_more(view))
    elif _missing(view, deployment):
        counts = f"{deployment.ready} of {max(view.wanted, view.floor, _decided(view))} replicas are ready"
        message = f"{counts}{_setting_up(view)}"
        blocks = view.ready == 0 and bool(view.floor or not _asleep(view))
        yield Obstacle("start", Reason.PODS_STARTING, message, blocks, deployment.ready)


def _setting_up(view: View) -> str:
    """A Pod may wait for a second, or for ever for a ConfigMap that nobody makes; only its events say for what."""
    names = sorted(pod.name for pod in view.pods if pod.setting_up and not pod.terminating)
    if not names:
        return ""
    return f"; no volumes or no network yet: {first_of(names, 1)} (kubectl describe pod {names[0]} tells why)"


def _missing(view: View, deployment: DeploymentRecord) -> int:
    """Replicas that are to come, but those for which the cluster has no room."""
    if not deployment.spec_replicas:
        return _decided(view)
    missing = deployment.spec_replicas - deployment.ready
    if missing <= 0 or not view.enough:
        return max(missing, 0)
    reasons = [pod.problem.reason for pod in view.pods if pod.problem is not None and not pod.terminating]
    refused = deployment.spec_replicas - deployment.replicas if deployment.replica_failure else 0
    return max(missing - reasons.count(Reason.UNSCHEDULABLE) - max(refused, 0), 0)


def _decided(view: View) -> int:
    """Replicas that the spec asks for or that were decided on, where decisions are acted upon."""
    if view.policy is None or view.policy.mode is not Mode.AUTO:
        return 0
    return max(view.floor, view.outcome.decision.replicas if view.outcome else 0)


def _asleep(view: View) -> bool:
    """Whether it is at zero, or on its way back from there."""
    return view.waking or not view.wanted


def _sleeps_no_more(view: View) -> bool:
    """Whether replicas are wanted and none consumes."""
    return view.wanted > 0 and view.ready == 0 and not view.waking
