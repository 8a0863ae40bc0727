"""When a decision may change although nothing that it was made from does: the clocks that run in `decide`. Pure.

A pool whose inputs stay as they are comes to the same decision, in the same words, until the first of these moments.
"""

import math
from collections.abc import Iterator

from celeriac.scaling.decision import History
from celeriac.scaling.eta import REPORT_SECONDS, seconds_ahead
from celeriac.scaling.policy import Mode, Policy
from celeriac.scaling.rate import policies_down, policies_up
from celeriac.scaling.workload import Demand, Doubt


def next_edge(policy: Policy, demand: Demand | Doubt, history: History, now: float) -> float:
    """Return the moment before which `decide` gives the same count for the same reason; math.inf: it always does.

    `history` is that of the decision which was made of `policy` and `demand` at `now`. An ETA comes nearer as time
    passes; all else in `demand` is taken to stay as it is. Sums are rounded: a change may come a microsecond before the
    moment, or at the first reading after it.
    """
    if policy.mode is Mode.PAUSED or policy.pinned_replicas is not None:
        return math.inf
    edges = _of_doubt(policy, demand, now) if isinstance(demand, Doubt) else _of_demand(policy, demand, history, now)
    return min(edges, default=math.inf)


def _of_doubt(policy: Policy, doubt: Doubt, now: float) -> Iterator[float]:
    """The moment from which `fallback` counts."""
    if policy.fallback is not None and now - doubt.since < policy.fallback.after_seconds:
        yield doubt.since + policy.fallback.after_seconds


def _of_demand(policy: Policy, demand: Demand, history: History, now: float) -> Iterator[float]:
    up, down = policy.behavior.scale_up, policy.behavior.scale_down
    is_present = history.highest[-1] == history.lowest[-1]
    # The last entry of a window is the present recommendation, which lasts as long as it is repeated; it is missing
    # where a stronger one came in the same step of time.
    past = slice(-1) if is_present else slice(None)
    yield from (each.at + down.stabilization_window_seconds for each in history.highest[past])
    yield from (each.at + up.stabilization_window_seconds for each in history.lowest[past])
    rates = (*policies_up(up, runtime_known=demand.runtime_seconds is not None), *policies_down(down))
    ends = (change.at + rate.period_seconds for change in history.changes for rate in rates)
    yield from (end for end in ends if end > now)
    zero_after = policy.scale_to_zero_after_seconds
    if policy.min_replicas == 0 and history.idle_since is not None and now - history.idle_since < zero_after:
        yield history.idle_since + zero_after
    if demand.agent and history.next_eta_at is not None:
        yield from _of_eta(policy, demand, history.next_eta_at, now)


def _of_eta(policy: Policy, demand: Demand, due: float, now: float) -> Iterator[float]:
    """When a worker is needed for the next ETA, and when one that workers hold is taken to have fallen due."""
    if due - now > seconds_ahead(policy, demand):
        yield due - seconds_ahead(policy, demand)
    if demand.scheduled:
        yield due + REPORT_SECONDS
