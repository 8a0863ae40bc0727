"""Condition BrokerDurable: whether the broker keeps what nobody deletes; pure."""

from celeriac.api.reasons import Reason
from celeriac.reporting.view import BROKER_DURABLE, Condition, View


def broker_durable(view: View) -> Condition:
    """Unknown where the broker does not say it: a user who may not ask is no fault."""
    durability = view.outcome.durability if view.outcome else None
    if view.broker is not None:
        message = "the broker cannot be read: see condition BrokerReachable"
        return Condition.unknown(BROKER_DURABLE, Reason.HOLDING, message)
    if durability is None:
        message = "the broker does not tell what it does when its memory is full: give the user +info to know"
        return Condition.unknown(BROKER_DURABLE, Reason.NOT_TOLD, message)
    reason = Reason.KEYS_ARE_KEPT if durability.holds else Reason.KEYS_MAY_BE_EVICTED
    return Condition.of(BROKER_DURABLE, durability.holds, reason, durability.message)
