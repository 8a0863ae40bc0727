"""Condition BrokerDurable: whether the broker keeps what nobody deletes."""

from dataclasses import replace

import pytest

from celeriac.api.reasons import Reason
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.readings import Durability
from celeriac.reporting.broker_durable import broker_durable
from celeriac.reporting.view import View
from tests.unit.reporting.test_status import outcome, view

pytestmark = pytest.mark.unit


def seen(durability: Durability | None) -> View:
    return view(outcome=replace(outcome(0, 0, 0), durability=durability))


@pytest.mark.parametrize(
    ("durability", "status", "reason"),
    [
        (Durability(True, "kept"), "True", Reason.KEYS_ARE_KEPT),
        (Durability(False, "dropped"), "False", Reason.KEYS_MAY_BE_EVICTED),
        (None, "Unknown", Reason.NOT_TOLD),
    ],
)
def test_it_says_what_the_broker_told(durability: Durability | None, status: str, reason: Reason) -> None:
    condition = broker_durable(seen(durability))
    assert (condition.status, condition.reason) == (status, reason)
    assert durability is None or condition.message == durability.message


def test_of_a_broker_that_cannot_be_read_nothing_is_known() -> None:
    away = replace(seen(Durability(True, "kept")), broker=BrokerDoubt(Reason.BROKER_TIMEOUT, "no answer"))
    assert broker_durable(away).status == "Unknown"
    assert broker_durable(view(outcome=None)).status == "Unknown"
