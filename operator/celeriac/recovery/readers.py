"""Whose credentials read what in one look at a place: each pool's own, or those of others where these are refused."""

from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.agents import RegisteredPool, RegistryEntry
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.connecting.credentials import BrokerSource
from celeriac.recovery.place import Place, Way


class Readers:
    """Remembers what was tried and failed. `now` is in monotonic seconds; ways whose time has not come are left out."""

    def __init__(self, place: Place, now: float) -> None:
        self._place = place
        self._now = now
        self._logins = {source: way.address for source, way in place.ways.items() if now >= way.try_at}
        self._failed: set[BrokerAddress] = set()
        self._tried: dict[RegistryEntry, set[BrokerAddress]] = {}

    def listings(self) -> dict[BrokerAddress, frozenset[str]]:
        """Which registries to list with whose credentials; sources that gave the same address are one."""
        registries: dict[BrokerAddress, frozenset[str]] = {}
        for source, address in self._logins.items():
            registries[address] = registries.get(address, frozenset()) | self._place.ways[source].registries
        return registries

    def answered(self, address: BrokerAddress) -> None:
        """The broker has answered to these credentials."""
        for way in self._ways(address):
            way.succeeded()

    def failed(self, address: BrokerAddress, doubt: BrokerDoubt) -> list[BrokerSource]:
        """The broker as a whole was in doubt with these credentials; returns where they came from."""
        self._failed.add(address)
        for way in self._ways(address):
            way.failed(doubt, self._now)
        return [source for source, each in self._logins.items() if each == address]

    def next(self, entry: RegistryEntry, found: RegisteredPool | None) -> BrokerAddress | None:
        """Whose credentials to try next for a pool of which this was found; None: no others can help."""
        if found is not None and Reason.BROKER_PERMISSION_DENIED not in {doubt.reason for doubt in found.doubts}:
            return None
        tried = self._tried.setdefault(entry, set())
        logins = (self._logins.get(source) for source in self._place.ways_of(entry))
        refused = self._failed | tried
        address = next((each for each in logins if each is not None and each not in refused), None)
        if address is not None:
            tried.add(address)
        return address

    def doubt_of(self, entry: RegistryEntry) -> BrokerDoubt:
        """Why a pool could not be read at all."""
        for source in self._place.ways_of(entry):
            way = self._place.ways[source]
            if way.doubt is None:
                continue
            if way.lost is None:
                return way.doubt
            return BrokerDoubt(way.doubt.reason, f"{way.doubt}; what leads to it is not there any more: {way.lost}")
        return BrokerDoubt(Reason.BROKER_ERROR, "nobody's credentials for this broker are known any more")

    def _ways(self, address: BrokerAddress) -> list[Way]:
        """Those that still lead to an address: a Secret may have been read again meanwhile."""
        return [way for way in self._place.ways.values() if way.address == address]
