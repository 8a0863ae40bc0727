"""What would change a decision: so many tasks more or fewer, or so many seconds. Pure: `decide` itself is asked.

No rule of `decide` is known here. A count that changes the outcome is looked for by halving, since more demand never
gives fewer replicas; a moment, by deciding again at each clock edge with everything else left as it is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from celeriac.scaling.decide import decide
from celeriac.scaling.decision import Decision, History
from celeriac.scaling.edges import next_edge
from celeriac.scaling.policy import Policy
from celeriac.scaling.workload import Demand, Doubt

MOST_TASKS = 1_000_000
"""More are not asked about: no pool waits for a decision that needs them."""
MOST_EDGES = 40
LONGEST_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Turn:
    """A change of the outcome: `by` tasks more (fewer where it is negative), or after so many `seconds`."""

    replicas: int
    reason: str
    by: int = 0
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Turns:
    """What changes the outcome first, in each direction; None where nothing in reach does.

    more, fewer  waiting tasks; where none waits, `fewer` counts tasks that run
    later        time alone, with the demand as it is
    """

    more: Turn | None
    fewer: Turn | None
    later: Turn | None


def turns(policy: Policy, demand: Demand | Doubt, history: History, now: float) -> Turns:
    """Return what would change the decision that is made of these at `now`; `history` is that before it."""
    made = decide(policy, demand, history, now)
    later = _later(policy, demand, made, now)
    if isinstance(demand, Doubt) or not made.active:
        return Turns(None, None, later)
    known = demand

    def with_tasks(by: int) -> Decision:
        waiting = max(0, known.waiting + by)
        ended = min(0, known.waiting + by)
        return decide(policy, replace(known, waiting=waiting, running=known.running + ended), history, now)

    more = _first(lambda by: with_tasks(by).replicas > made.replicas, MOST_TASKS)
    fewer = _first(lambda by: with_tasks(-by).replicas < made.replicas, demand.waiting + demand.running)
    return Turns(
        None if more is None else _turn(with_tasks(more), more),
        None if fewer is None else _turn(with_tasks(-fewer), -fewer),
        later,
    )


def _turn(made: Decision, by: int) -> Turn:
    return Turn(made.replicas, made.reason, by=by)


def _first(holds: Callable[[int], bool], most: int) -> int | None:
    """The smallest number from 1 on for which it holds, which it then does for all above; None up to `most`."""
    if most < 1 or not holds(most):
        return None
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _later(policy: Policy, demand: Demand | Doubt, made: Decision, now: float) -> Turn | None:
    """The first change that comes of time alone."""
    moment, last = now, made
    for _ in range(MOST_EDGES):
        edge = next_edge(policy, demand, last.history, moment)
        if edge == math.inf or edge - now > LONGEST_SECONDS:
            return None
        moment = max(edge, math.nextafter(moment, math.inf))
        last = decide(policy, _at(demand, moment - now), last.history, moment)
        if last.replicas != made.replicas:
            return Turn(last.replicas, last.reason, seconds=moment - now)
    return None


def _at(demand: Demand | Doubt, seconds: float) -> Demand | Doubt:
    """The demand so much later, its ETA nearer."""
    if isinstance(demand, Doubt) or demand.next_eta_seconds is None:
        return demand
    return replace(demand, next_eta_seconds=max(0.0, demand.next_eta_seconds - seconds))
