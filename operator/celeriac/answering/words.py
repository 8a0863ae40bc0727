"""What is known of pools, as the result of a request: plain JSON, no argument of a task, no credential. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from celeriac.api.words import foreign
from celeriac.autoscaling.accounts import Account
from celeriac.autoscaling.journal import Entry
from celeriac.autoscaling.outcome import Outcome
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import ControlLists
from celeriac.brokers.readings import PoolReading
from celeriac.cluster.times import timestamp
from celeriac.scaling.decide import stages
from celeriac.scaling.explain import Turn, turns
from celeriac.scaling.policy import Policy, QueueWaitTarget
from celeriac.scaling.workload import Demand

MOST_POOLS: Final = 500
"""Of one answer: an object is 1.5 MB at most, and a pool some 0.5 KB."""

Result = Mapping[str, Any]


def top(accounts: Iterable[tuple[str, Account | None]]) -> Result:
    """The live figures of pools, by their names."""
    rows = [{"name": name, **(_figures(account) if account else {"message": UNSEEN})} for name, account in accounts]
    return {"pools": rows[:MOST_POOLS], "left": max(0, len(rows) - MOST_POOLS)}


UNSEEN: Final = "no tick has looked at it yet"


def _figures(account: Account) -> Result:
    outcome = account.outcome
    if outcome is None:
        doubt = account.reading
        return {"message": doubt.told if isinstance(doubt, BrokerDoubt) else UNSEEN}
    learned, workers = outcome.learned, outcome.workers
    found: dict[str, Any] = {
        "replicas": outcome.demand.current_replicas,
        "desired": outcome.decision.replicas,
        "reason": outcome.reason,
        "message": outcome.message,
    }
    if isinstance(outcome.demand, Demand):
        found |= {"waiting": outcome.demand.waiting, "running": outcome.demand.at_work}
    if workers is not None:
        found |= {"reserved": workers.reserved, "draining": sum(each.drainable for each in workers.marked)}
    if learned is not None:
        found |= {
            "arrivalsPerSecond": learned.arrival_rate,
            "departuresPerSecond": learned.departure_rate,
            "taskRuntimeSeconds": learned.runtime_seconds,
            "oldestTaskSeconds": learned.oldest_seconds,
        }
    return _rounded(found)


def queues(reading: PoolReading) -> Result:
    """Each queue by itself."""
    rows = [
        {"name": name, **{key: getattr(each, key) for key in ("waiting", "held", "scheduled", "deferred", "dead")}}
        for name, each in reading.queues.items()
    ]
    return {"queues": rows, "exact": reading.exact}


def explanation(account: Account, outcome: Outcome) -> Result:
    """How the last decision came about, what would change it, and those before."""
    policy, demand, decision = account.pool.policy, outcome.demand, outcome.decision
    changes = turns(policy, demand, decision.history, account.now)
    found: dict[str, Any] = {
        "replicas": demand.current_replicas,
        "desired": decision.replicas,
        "reason": outcome.reason,
        "message": outcome.message,
        "held": outcome.held,
        "decision": decision.message,
        "policy": _policy(policy),
        "more": _turn(changes.more),
        "fewer": _turn(changes.fewer),
        "later": _turn(changes.later),
        "decisions": [_entry(each) for each in account.entries],
    }
    if isinstance(demand, Demand):
        found["read"] = _rounded(asdict(demand))
        if decision.active:
            steps = stages(policy, demand, decision.history, account.now)
            found["steps"] = [{"name": each.name, "replicas": each.replicas, "message": each.message} for each in steps]
    return found


def health(identity: str, version: str, now: datetime, lists: ControlLists | None, unread: str | None) -> Result:
    """Who answers, when by its own clock, and what Celery's tools have left in the broker; `unread`: why not."""
    found: dict[str, Any] = {"operator": {"name": identity, "version": version, "time": timestamp(now)}}
    if unread is not None:
        found["unread"] = unread
    if lists is not None:
        rows = [asdict(each) | {"key": foreign(each.key)} for each in lists.lists]
        found |= {"lists": rows, "isWhole": lists.is_whole}
    return found


def _rounded(found: Mapping[str, Any]) -> Result:
    """To a thousandth where it is no whole number."""
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in found.items()}


def _policy(policy: Policy) -> Result:
    target = policy.target
    wanted = (
        {"queueWaitSeconds": target.seconds} if isinstance(target, QueueWaitTarget) else {"tasksPerSlot": target.tasks}
    )
    return {
        "target": wanted,
        "slots": policy.slots,
        "minReplicas": policy.min_replicas,
        "maxReplicas": policy.max_replicas,
        "scaleToZeroAfterSeconds": policy.scale_to_zero_after_seconds,
        "mode": str(policy.mode),
        "pinned": policy.pinned_replicas,
    }


def _turn(turn: Turn | None) -> Result | None:
    if turn is None:
        return None
    after = {} if turn.seconds is None else {"seconds": round(turn.seconds, 1)}
    return {"replicas": turn.replicas, "reason": turn.reason, "tasks": turn.by, **after}


def _entry(entry: Entry) -> Result:
    return {**asdict(entry), "at": timestamp(entry.at)}
