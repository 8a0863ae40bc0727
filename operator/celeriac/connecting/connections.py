"""One connection for each address, shared by all who use it, closed when nobody does any more."""

import asyncio
from collections.abc import Callable, Set

from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import Broker


class Connections:
    """Brokers by address. Each user says which addresses it needs: the others' rotated passwords are let go."""

    def __init__(self, connect: Callable[[BrokerAddress], Broker], closed: Callable[[BrokerAddress], None]) -> None:
        self._connect = connect
        self._closed = closed
        self._brokers: dict[BrokerAddress, Broker | BrokerDoubt] = {}
        self._needed: dict[str, Set[BrokerAddress]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def broker(self, address: BrokerAddress) -> Broker:
        """The connection to an address. Raises BrokerDoubt for a URL that cannot be used."""
        if address not in self._brokers:
            try:
                self._brokers[address] = self._connect(address)
            except BrokerDoubt as doubt:  # it would fail the same way again, and a bad certificate is costly to read
                self._brokers[address] = doubt
        broker = self._brokers[address]
        if isinstance(broker, BrokerDoubt):
            raise BrokerDoubt(broker.reason, str(broker))
        return broker

    def retain(self, user: str, addresses: Set[BrokerAddress]) -> None:
        """`user` needs these addresses, those that it is using right now included; close what no user needs."""
        self._needed[user] = addresses
        needed = {address for some in self._needed.values() for address in some}
        for address in self._brokers.keys() - needed:
            broker = self._brokers.pop(address)
            self._closed(address)
            if not isinstance(broker, BrokerDoubt):
                task = asyncio.get_running_loop().create_task(broker.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all connections."""
        for user in [*self._needed, ""]:
            self.retain(user, set())
        await asyncio.gather(*self._closing, return_exceptions=True)
