"""What a tick found and decided for one pool: the one value from which status, metrics and events are made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from celeriac.autoscaling.healer import Healing
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.readings import Durability
from celeriac.pool.model import QueueLayout
from celeriac.scaling.decision import Decision, Plan
from celeriac.scaling.learning import Learned
from celeriac.scaling.workload import Demand, Doubt, Rollout
from celeriac.workers.degraded import Degradation
from celeriac.workers.responses import Responses
from celeriac.workers.stuck import Stuck
from celeriac.workers.trouble import Trouble
from celeriac.workers.worker import Workers


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the last tick found and decided for one pool.

    idle_seconds    since when nothing was to be done
    idle_before     the last leader may have seen that begin: it was so at the first decision
    workers         its Pods with their reports; None without the agent
    trouble         in what a worker that runs is not what the spec says
    degradation     what the agents in its workers cannot do; None where they lack nothing
    responses       whether its workers answer and take work; None without the agent
    healing         which of them is started anew for that; None where the spec forbids it, or nothing can be said
    learned         rates and times that were measured on them
    layout          how its queues are laid out, as its workers have said; None where the spec says the same
    dead            by queue, messages that were started too often by workers that died; None where nobody knows
    durability      whether its broker keeps what nobody deletes; None where that is not known
    refusal         what its broker refuses although it can be read; None where it takes what is written
    stuck           its deleted Pods that do not go away
    rollout         in which old and new pods are beside each other; None where there is none, or not all is known of it
    """

    demand: Demand | Doubt
    decision: Decision
    plan: Plan
    idle_seconds: float | None = None
    idle_before: bool = False
    workers: Workers | None = None
    trouble: Trouble | None = None
    degradation: Degradation | None = None
    responses: Responses | None = None
    healing: Healing | None = None
    learned: Learned | None = None
    dead: Mapping[str, int] | None = None
    rollout: Rollout | None = None
    durability: Durability | None = None
    layout: QueueLayout | None = None
    stuck: tuple[Stuck, ...] = ()
    refusal: BrokerDoubt | None = None

    @property
    def dead_letters(self) -> int | None:
        """Those of all queues."""
        return None if self.dead is None else sum(self.dead.values())

    @property
    def reason(self) -> str:
        """The reason of what is really done: the plan's where it holds the decision back."""
        return self.plan.reason if self.held else self.decision.reason

    @property
    def message(self) -> str:
        """The sentence of what is really done."""
        return self.plan.message if self.held else self.decision.message

    @property
    def held(self) -> bool:
        """Whether the decision is not acted upon, for a reason of the plan's."""
        return self.plan.replicas is None and self.decision.replicas != self.demand.current_replicas


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the tick knows of a pool: the outcome, None without a Deployment; why its broker cannot be read; a slip; why
    what its agents count cannot be read.
    """

    outcome: Outcome | None = None
    doubt: BrokerDoubt | None = None
    misspelled: str | None = None
    uncounted: str | None = None


def urgent_outcome(outcome: Outcome | None) -> tuple[Any, ...] | None:
    """The part of an outcome whose change concerns the status at once."""
    if outcome is None:
        return None
    decision = outcome.decision
    limit = decision.limit.reason if decision.limit else None
    trouble = outcome.trouble.reason if outcome.trouble else None
    draining = outcome.workers is not None and bool(outcome.workers.marked)
    idle, responses = outcome.idle_seconds is None, outcome.responses
    lapses = (bool(responses.silent), bool(responses.not_fetching)) if responses else None
    durable = outcome.durability.holds if outcome.durability else None
    degraded = outcome.degradation is not None
    refusal = outcome.refusal.reason if outcome.refusal else None
    stuck = len(outcome.stuck)
    reasons = decision.replicas, outcome.reason, decision.active, limit, idle, trouble, refusal, stuck
    return *reasons, degraded, lapses, draining, durable


def figures(outcome: Outcome) -> dict[str, float | None]:
    """What the reports of the workers tell, by the names that `Metrics.workers` knows; nothing without the agent."""
    demand, workers, learned, responses = outcome.demand, outcome.workers, outcome.learned, outcome.responses
    if workers is None or learned is None or not isinstance(demand, Demand):
        return {}
    return {
        "reserved": workers.reserved,
        "agent_errors": workers.agent_errors,
        "draining": sum(pod.drainable for pod in workers.marked),
        "oldest_drain_seconds": workers.oldest_drain_seconds,
        "degraded": len(outcome.degradation.pods) if outcome.degradation else 0,
        "refused": len(workers.refusals),
        "ending": demand.ending,
        "silent": len(responses.silent) if responses else None,
        "not_fetching": len(responses.not_fetching) if responses else None,
        "runtime_seconds": demand.runtime_seconds,
        "arrival_rate": demand.arrival_rate,
        "departure_rate": learned.departure_rate,
        "cold_start_seconds": learned.cold_start_seconds,
        "oldest_seconds": learned.oldest_seconds,
    }
