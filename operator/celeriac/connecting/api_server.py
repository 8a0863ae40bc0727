"""Where the API server is: no broker URL may lead there, as what is sent there would come from the operator."""

import asyncio
import logging
from dataclasses import replace
from typing import Final, Protocol

from celeriac.brokers.dialing.dial import Dialer
from celeriac.brokers.dialing.policy import Address
from celeriac.cluster.errors import ApiError

log = logging.getLogger(__name__)

LEARN_SECONDS: Final = 600.0
"""Addresses are learned again after so long."""
RETRY_SECONDS: Final = 15.0
MOST: Final = 256
"""Addresses that are kept: each of several API servers tells its own alone, and the one that answers changes."""


class Advertised(Protocol):
    """Tells its own hosts (`celeriac.cluster.client.Api`)."""

    def hosts(self) -> frozenset[str]:
        """By which it is reached from here; asks nothing."""

    async def advertised_hosts(self) -> frozenset[str]:
        """Which it says of itself. Raises ApiError."""


class ApiServerAddresses:
    """Keeps them in the dialer's policy."""

    def __init__(self, api: Advertised, dialer: Dialer) -> None:
        self._api = api
        self._dialer = dialer

    async def run(self) -> None:
        """Learn them for ever."""
        while True:
            complete = await self.learn()
            await asyncio.sleep(LEARN_SECONDS if complete else RETRY_SECONDS)

    async def learn(self) -> bool:
        """Learn them once; False where some host could not be asked about. What was known before is kept."""
        known: set[Address] = set()
        hosts, complete = self._api.hosts(), True
        try:
            hosts |= await self._api.advertised_hosts()
        except ApiError as error:
            log.debug("the API server does not say where it is: %s", error)
            complete = False
        for host in hosts:
            try:
                known.update(await self._dialer.resolver.addresses(host))
            except (OSError, UnicodeError) as error:
                log.debug("host of the API server: %s", error)
                complete = False
        policy = self._dialer.policy
        before = policy.api_server if len(policy.api_server | known) <= MOST else frozenset()
        self._dialer.policy = replace(policy, api_server=before | known)
        return complete
