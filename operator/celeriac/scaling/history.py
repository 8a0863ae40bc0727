"""What `decide` remembers: stabilization windows, performed changes, and since when a pool is idle.

All of it stays small at any tick rate. A window is a staircase of extremes (the monotone queue of a sliding maximum),
cut into at most `WINDOW_STEPS` steps of time; changes within one second are one.
"""

from collections.abc import Callable
from dataclasses import replace
from operator import gt, lt

from celeriac.scaling.decision import History, Recommendation, ScaleChange
from celeriac.scaling.policy import Behavior, ScalingRules

WINDOW_STEPS = 120
"""Resolution of a stabilization window: 0.5 s of the default 60 s, 30 s of the longest, 3600 s."""

LONGEST_PERIOD_SECONDS = 1800
"""The longest `periodSeconds` that autoscaling/v2 allows."""


def fresh_history(replicas: int, now: float, idle_since: float | None = None) -> History:
    """Return the history of a leader that knows nothing: windows full of the current replicas.

    A new leader therefore scales down no sooner than one stabilization window after its start.
    """
    current = (Recommendation(now, replicas),)
    return History(highest=current, lowest=current, idle_since=idle_since)


def record_change(history: History, now: float, change: int) -> History:
    """Remember a performed change of the replicas (positive up, negative down); call it after a successful /scale."""
    changes = tuple(c for c in history.changes if c.at > now - LONGEST_PERIOD_SECONDS)
    if changes and int(changes[-1].at) == int(now):
        return replace(history, changes=(*changes[:-1], ScaleChange(now, changes[-1].change + change)))
    return replace(history, changes=(*changes, ScaleChange(now, change)))


def remember(history: History, behavior: Behavior, replicas: int, now: float) -> History:
    """Add a recommendation to both windows and forget what no window and no rate policy asks for any more."""
    latest = Recommendation(now, replicas)
    longest = max(_longest_period(behavior.scale_up), _longest_period(behavior.scale_down))
    return replace(
        history,
        highest=_extend(history.highest, latest, behavior.scale_down.stabilization_window_seconds, gt),
        lowest=_extend(history.lowest, latest, behavior.scale_up.stabilization_window_seconds, lt),
        changes=tuple(c for c in history.changes if c.at > now - longest),
    )


def _longest_period(rules: ScalingRules) -> int:
    """Return the longest period of the owner's policies, or one that covers the operator's defaults."""
    return max((policy.period_seconds for policy in rules.policies or ()), default=15)


def _extend(
    window: tuple[Recommendation, ...], latest: Recommendation, seconds: int, beats: Callable[[int, int], bool]
) -> tuple[Recommendation, ...]:
    """Return the window with `latest`: only what lies inside and still beats everything after it.

    Strictly inside, as in the HPA: a recommendation of exactly `seconds` ago no longer counts. Two entries in the same
    step of time become one, the stronger value with the later time, so that a window errs towards holding.
    """
    kept = [r for r in window if r.at > latest.at - seconds and beats(r.replicas, latest.replicas)]
    if kept:
        step = seconds / WINDOW_STEPS
        if int(kept[-1].at / step) == int(latest.at / step):
            return (*kept[:-1], Recommendation(latest.at, kept[-1].replicas))
    return (*kept, latest)
