"""The conditions of a pool, in the order in which a person reads them; pure."""

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.pool.model import InvalidPool
from celeriac.reporting.agent_degraded import agent_degraded
from celeriac.reporting.broker_durable import broker_durable
from celeriac.reporting.drain_long_enough import drain_long_enough
from celeriac.reporting.late_tasks_safe import late_tasks_safe
from celeriac.reporting.obstacles import Obstacle, cluster_limit
from celeriac.reporting.pods_end import pods_end
from celeriac.reporting.standing import standing
from celeriac.reporting.view import (
    BROKER_REACHABLE,
    DRAINING,
    QUEUE_LOOKS_MISSPELLED,
    SCALING_ACTIVE,
    SCALING_LIMITED,
    Condition,
    View,
    invalid,
)
from celeriac.reporting.workers_responding import workers_responding
from celeriac.scaling.policy import Mode
from celeriac.watching.rivals import AUTOSCALER


def conditions(view: View, overdue: Obstacle | None = None) -> list[Condition]:
    """All conditions of a pool; `overdue` is the obstacle whose time is over (`celeriac.reporting.deadlines`)."""
    return [
        *standing(view, overdue),
        _broker_reachable(view),
        broker_durable(view),
        workers_responding(view),
        agent_degraded(view),
        _scaling_active(view),
        _scaling_limited(view),
        _draining(view),
        drain_long_enough(view),
        late_tasks_safe(view),
        pods_end(view),
        *_misspelled(view),
    ]


def _misspelled(view: View) -> list[Condition]:
    """There is no such condition where nothing looks so: nobody can say that a name is right."""
    if view.misspelled is None or view.broker is not None:
        return []
    return [Condition.of(QUEUE_LOOKS_MISSPELLED, True, Reason.SIMILAR_QUEUE, view.misspelled)]


def _broker_reachable(view: View) -> Condition:
    if view.broker is not None:
        return Condition.of(BROKER_REACHABLE, False, view.broker.reason, str(view.broker))
    if isinstance(view.known.spec, InvalidPool):
        return invalid(BROKER_REACHABLE)
    if view.broker_refusal is not None:
        return Condition.of(BROKER_REACHABLE, False, view.broker_refusal.reason, str(view.broker_refusal))
    return Condition.of(BROKER_REACHABLE, True, Reason.BROKER_READABLE, "the queues are read")


def _scaling_active(view: View) -> Condition:
    if isinstance(view.known.spec, InvalidPool):
        return Condition.of(SCALING_ACTIVE, False, Reason.INVALID_SPEC, "the spec is invalid: see condition Ready")
    if view.scale_refusal is not None:
        message = f"the replicas cannot be written: {view.scale_refusal}; mend what forbids it"
        return Condition.of(SCALING_ACTIVE, False, Reason.FAILED_UPDATE_SCALE, message)
    if view.rival is not None:
        return Condition.of(SCALING_ACTIVE, False, Reason.ANOTHER_WRITER, _rival(view.known.key, view.rival))
    if view.outcome is None:
        return Condition.unknown(SCALING_ACTIVE, Reason.CREATING, "there is no Deployment to be scaled yet")
    if view.known.spec.policy.mode is Mode.DRY_RUN:
        return Condition.of(SCALING_ACTIVE, False, Reason.DRY_RUN, "scaling.mode is DryRun: decided, never done")
    decision = view.outcome.decision
    reason = Reason.SCALING if decision.active else decision.reason
    message = "replicas follow the queues" if decision.active else decision.message
    return Condition.of(SCALING_ACTIVE, decision.active, reason, message)


def _rival(key: PoolKey, manager: str) -> str:
    """Who writes the replicas of the pool's Deployment beside the operator, and what to do about it."""
    what = f"the replicas of Deployment {key.name} are also written by field manager {manager[:128]!r}"
    if manager == AUTOSCALER:
        return (
            f"{what}, a HorizontalPodAutoscaler, perhaps made by KEDA: delete it (kubectl get hpa -n {key.namespace}),"
            " as the operator scales by the queues"
        )
    return f"{what}, again and again: leave them to the operator (an HPA, GitOps or a script sets them)"


def _scaling_limited(view: View) -> Condition:
    short = cluster_limit(view)
    if short is not None:
        return Condition.of(SCALING_LIMITED, True, *short)
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
    able = [pod for pod in workers.marked if pod.drainable]
    unable = [pod for pod in workers.marked if not pod.drainable]
    parts = []
    if able:
        running = sum(pod.running for pod in able)
        parts.append(f"{len(able)} workers take no new task and are removed when theirs have ended ({running} running)")
    if unable:
        parts.append(f"{len(unable)} workers that cannot drain are removed at a moment at which they hold nothing")
    return Condition.of(DRAINING, True, Reason.DRAINING, "; ".join(parts))
