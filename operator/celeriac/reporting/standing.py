"""The three conditions by which tools judge a pool: Ready, Reconciling and Stalled; pure.

The rules are those of kstatus (sigs.k8s.io/cli-utils), which Flux and others follow: Reconciling True is in progress,
Stalled True has failed, neither is as it should be. So a pool that is not Ready is always one of the two; a pool that
is Stalled is never Ready nor Reconciling.
"""

from celeriac.api.reasons import Reason
from celeriac.reporting.deadlines import told
from celeriac.reporting.obstacles import Obstacle, obstacles
from celeriac.reporting.view import READY, RECONCILING, STALLED, Condition, View
from celeriac.scaling.policy import Mode, Policy


def standing(view: View, overdue: Obstacle | None) -> list[Condition]:
    """Ready, Reconciling and Stalled; `overdue` is the obstacle whose time is over."""
    found = obstacles(view)
    return [_ready(view, found, overdue), _reconciling(found, overdue), _stalled(found, overdue)]


def _ready(view: View, found: list[Obstacle], overdue: Obstacle | None) -> Condition:
    if overdue is not None:
        return Condition.of(READY, False, *told(overdue))
    blocking = next((each for each in found if each.blocks), None)
    if blocking is not None:
        return Condition.of(READY, False, blocking.reason, blocking.message)
    if not view.wanted:
        return _at_zero(view, found)
    counts = f"{view.ready} of {view.wanted} replicas are ready"
    if view.ready:
        return Condition.of(READY, True, Reason.READY, counts)
    return Condition.of(READY, True, Reason.WAKING_UP, f"the pool slept and has work: {counts}")


def _at_zero(view: View, found: list[Obstacle]) -> Condition:
    policy, name = view.policy, view.known.key.name
    if any(each.reason == Reason.PODS_STARTING for each in found):
        return Condition.of(READY, True, Reason.WAKING_UP, "the pool slept and has work: its replicas are on their way")
    return Condition.of(READY, True, Reason.SCALED_TO_ZERO, _why_zero(policy, name) if policy else "")


def _why_zero(policy: Policy, name: str) -> str:
    if policy.mode is Mode.PAUSED:
        return f"no replicas, and scaling.mode is Paused: tasks wait until kubectl celery unpause {name}"
    if policy.pinned_replicas == 0:
        return f"pinned to 0 by spec.replicas: tasks wait until kubectl celery resume {name}"
    if policy.mode is Mode.DRY_RUN:
        return "no replicas, and scaling.mode is DryRun: tasks wait until it is Auto"
    return "no replicas wanted; a task in the queues brings them"


def _reconciling(found: list[Obstacle], overdue: Obstacle | None) -> Condition:
    if overdue is not None:
        return Condition.of(RECONCILING, False, Reason.STALLED, "it does not get on by itself: see condition Stalled")
    if not found:
        return Condition.of(RECONCILING, False, Reason.STABLE, "the pool is what its spec asks for")
    return Condition.of(RECONCILING, True, found[0].reason, found[0].message)


def _stalled(found: list[Obstacle], overdue: Obstacle | None) -> Condition:
    if overdue is not None:
        return Condition.of(STALLED, True, *told(overdue))
    rest = "what is in the way has its time: see condition Reconciling" if found else "nothing is in the pool's way"
    return Condition.of(STALLED, False, Reason.NOT_STALLED, rest)
