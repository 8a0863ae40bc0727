"""Connections are shared by address, and closed when nobody needs them any more."""

import asyncio
from typing import cast

import pytest

from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import Broker
from celeriac.connecting.connections import Connections

pytestmark = pytest.mark.unit

OLD, NEW = BrokerAddress("redis://:hunter2@redis:6379/0"), BrokerAddress("redis://:hunter3@redis:6379/0")


class SilentBroker:
    """A connection that only notes that it was closed."""

    def __init__(self) -> None:
        self.is_closed = False

    async def close(self) -> None:
        self.is_closed = True


class Bench:
    """Connections, and what was made and closed."""

    def __init__(self, refusal: BrokerDoubt | None = None) -> None:
        self.made: dict[BrokerAddress, SilentBroker] = {}
        self.tries = 0
        self.closed: list[BrokerAddress] = []
        self.refusal = refusal
        self.connections = Connections(self._connect, self.closed.append)

    def _connect(self, address: BrokerAddress) -> Broker:
        self.tries += 1
        if self.refusal is not None:
            raise self.refusal
        self.made[address] = SilentBroker()
        return cast(Broker, self.made[address])  # closing is all that is asked of it here


def test_two_users_of_one_address_share_one_connection() -> None:
    bench = Bench()
    assert bench.connections.broker(OLD) is bench.connections.broker(OLD)
    assert bench.tries == 1


async def test_a_connection_is_closed_when_the_last_user_needs_it_no_more() -> None:
    """As after a rotated password: the other may be in the middle of a reading."""
    bench = Bench()
    for user in ("autoscaling", "recovery"):
        bench.connections.retain(user, {OLD})
    bench.connections.broker(OLD)
    bench.connections.broker(NEW)
    bench.connections.retain("autoscaling", {NEW})
    await asyncio.sleep(0)
    assert not bench.made[OLD].is_closed
    bench.connections.retain("recovery", {NEW})
    await asyncio.sleep(0)
    assert (bench.made[OLD].is_closed, bench.made[NEW].is_closed, bench.closed) == (True, False, [OLD])


async def test_at_the_end_all_are_closed() -> None:
    bench = Bench()
    bench.connections.retain("autoscaling", {OLD, NEW})
    bench.connections.broker(OLD)
    bench.connections.broker(NEW)
    await bench.connections.close()
    assert [each.is_closed for each in bench.made.values()] == [True, True]


def test_a_url_that_cannot_be_used_is_not_tried_again_and_again() -> None:
    bench = Bench(BrokerDoubt(Reason.BROKER_TLS_FAILED, "no PEM"))
    for _ in range(2):
        with pytest.raises(BrokerDoubt, match="no PEM"):
            bench.connections.broker(OLD)
    assert bench.tries == 1
