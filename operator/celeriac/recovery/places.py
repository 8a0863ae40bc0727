"""All places where processes are registered, as pools and Pods name them. No I/O and no clock."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.agents import RegistryEntry
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.connecting.credentials import BrokerSource
from celeriac.pool.model import InvalidPool, WorkerPool
from celeriac.recovery.orphans import Orphan
from celeriac.recovery.place import Left, Place, PoolHere
from celeriac.watching.store import KnownPool

GIVE_UP_SECONDS: Final = 3600.0
"""What a pool that is gone left in a broker which cannot be read is given up after so long."""
MOST_BROKERS_LEFT: Final = 50
MOST_POOLS_LEFT: Final = 1000
"""Of one namespace: who changes a pool's URL twice a second leaves 7,200 brokers in that time, who makes and deletes
pools as many of these."""

Addresses = Mapping[BrokerSource, BrokerAddress | BrokerDoubt | None]


class Places:
    """All places, as pools and Pods name them."""

    def __init__(self, place_of: Callable[[BrokerAddress], str]) -> None:
        """`place_of` names the broker of an address; it raises BrokerDoubt for a URL that cannot be used."""
        self._place_of = place_of
        self._names: dict[BrokerAddress, str | None] = {}
        self._homes: dict[str, tuple[str, RegistryEntry]] = {}
        self.all: dict[str, Place] = {}
        self.living: Mapping[str, PoolKey] = {}
        """All pools by uid."""

    def clear(self) -> None:
        """Forget everything."""
        self._names.clear()
        self._homes.clear()
        self.all.clear()
        self.living = {}

    def sources(self, pools: Iterable[KnownPool], orphans: Iterable[Orphan]) -> set[BrokerSource]:
        """Whose addresses are needed: those of pools, of Pods without their pool, and of what was left behind."""
        of_pools = {BrokerSource.of_pool(known.spec) for known in pools if isinstance(known.spec, WorkerPool)}
        of_pods = {orphan.where[0] for orphan in orphans if isinstance(orphan.where, tuple)}
        return of_pools | of_pods | {source for place in self.all.values() for source in place.ways}

    def addresses(self) -> set[BrokerAddress]:
        """Which connections are needed."""
        return {way.address for place in self.all.values() for way in place.ways.values()}

    def why_not_found(self, orphan: Orphan, addresses: Addresses) -> BrokerDoubt | None:
        """Why the broker that a Pod names cannot be found; None where it is known, or was once."""
        if isinstance(orphan.where, InvalidPool):
            return BrokerDoubt(Reason.INVALID_SPEC, str(orphan.where))
        source, _ = orphan.where
        address = addresses.get(source)
        is_known = any(source in place.ways for place in self.all.values())
        return address if isinstance(address, BrokerDoubt) and not is_known else None

    def unresolved(self) -> frozenset[str]:
        """Uids of pools of which nobody knows that they hold nothing.

        A pool that has just been found is looked at within a second. Until then it is none of them: else its idleness
        would begin anew with every leader. What a dead worker may hold comes back, and wakes a pool, at zero as well.
        """
        return frozenset(uid for place in self.all.values() for uid in place.unresolved)

    def strangers(self) -> int:
        """Pools that registries list and that are nobody's there."""
        return sum(len(place.strangers) for place in self.all.values())

    def doubts(self) -> Counter[str]:
        """By reason: pools, deleted ones too, of which not all is known that is registered."""
        pools = (pool for place in self.all.values() for pool in place.pools.values())
        return Counter(str(pool.troubles[0].reason) for pool in pools if pool.troubles)

    def follow(self, pools: Collection[KnownPool], orphans: Collection[Orphan], addresses: Addresses) -> None:
        """Note where each pool's broker is now; where it was before is left once nothing of it is registered there."""
        known_now = set(addresses.values()) | self.addresses()
        self._names = {address: name for address, name in self._names.items() if address in known_now}
        self._refresh(addresses)
        self.living = {known.uid: known.key for known in pools if not known.deleting}
        self._homes = {uid: home for uid, home in self._homes.items() if uid in self.living}
        for known in pools:
            if isinstance(known.spec, WorkerPool) and not known.deleting:
                self._settle(known.spec, addresses)
        for place in self.all.values():
            for entry, pool in place.pools.items():
                home = self._homes.get(entry.pool_uid)
                pool.lives = home == (place.name, entry)
                pool.moved = home is not None and not pool.lives
        self._name(orphans, addresses)
        for place in self.all.values():
            place.living = self.living
            for entry, pool in place.pools.items():
                pool.was_named = pool.spec is None and place.is_ours(entry)

    def give_up(self, now: float, busy: Collection[str] = ()) -> list[Left]:
        """Forget what pools left where nobody can read it, after a while; and of each namespace what is too much.

        Where workers were seen, and what was left last, is kept first; `busy` are places that are being looked at.
        """
        left = [each for place in self.all.values() if place.name not in busy for each in place.left()]
        left.sort(key=_worth, reverse=True)
        brokers: dict[str, set[str]] = {}
        unread: Counter[str] = Counter()
        lost = []
        for each in left:
            namespace = each.pool.key.namespace if each.pool.key is not None else ""
            names = brokers.setdefault(namespace, set())
            unread[namespace] += each.unread_since is not None
            is_over = each.unread_since is not None and now - each.unread_since >= GIVE_UP_SECONDS
            has_room = each.place.name in names or len(names) < MOST_BROKERS_LEFT
            if is_over or not has_room or unread[namespace] > MOST_POOLS_LEFT:
                del each.place.pools[each.entry]
                lost.append(each)
            else:
                names.add(each.place.name)
        return lost

    def leave(self, place: Place) -> bool:
        """Forget a place where nothing is left; tell whether that is so."""
        if place.pools or place.named:
            return False
        if self.all.get(place.name) is place:  # another may stand there since the Lease was lost and won
            del self.all[place.name]
        return True

    def _refresh(self, addresses: Addresses) -> None:
        """Take over rotated credentials of all ways. A Secret that leads to another broker now says nothing of this."""
        for place in self.all.values():
            for source, way in place.ways.items():
                address = addresses.get(source)
                if isinstance(address, BrokerDoubt):
                    way.lost = address
                elif address is not None and self._name_of(address) == place.name:
                    way.update(address)

    def _settle(self, spec: WorkerPool, addresses: Addresses) -> None:
        """Note where a pool's broker is. While nobody knows the address, it is where it was with the same source."""
        source = BrokerSource.of_pool(spec)
        entry = RegistryEntry(spec.broker.layout.registry, spec.uid)
        address = addresses.get(source)
        place = self._at(address) if isinstance(address, BrokerAddress) else None
        if place is not None and isinstance(address, BrokerAddress):
            place.reach(source, address, entry.registry)
            pool = place.pools.setdefault(entry, PoolHere())
            pool.key, pool.spec, pool.source = spec.key, spec, source
            self._homes[spec.uid] = place.name, entry
            return
        name, before = self._homes.get(spec.uid, ("", entry))
        known = self.all[name].pools.get(before) if name in self.all else None
        if before != entry or known is None or known.source != source:
            self._homes.pop(spec.uid, None)

    def _name(self, orphans: Iterable[Orphan], addresses: Addresses) -> None:
        for place in self.all.values():
            place.named = set()
        named = set()
        for orphan in orphans:
            if isinstance(orphan.where, InvalidPool):
                continue
            source, registry = orphan.where
            named.add(source)
            address = addresses.get(source)
            at = self._at(address) if isinstance(address, BrokerAddress) else None
            if at is not None and isinstance(address, BrokerAddress):
                at.reach(source, address, registry)
            for place in self.all.values():
                if source in place.ways:
                    place.named.add((registry, orphan.pool))
        for place in self.all.values():
            place.drop_ways(named)

    def _at(self, address: BrokerAddress) -> Place | None:
        """The place of an address; None for a URL that cannot be used."""
        name = self._name_of(address)
        return None if name is None else self.all.setdefault(name, Place(name))

    def _name_of(self, address: BrokerAddress) -> str | None:
        """The name of an address' place; None for a URL that cannot be used.

        It is asked for each pool twice a second, and to read a URL costs.
        """
        if address not in self._names:
            try:
                self._names[address] = self._place_of(address)
            except BrokerDoubt:
                self._names[address] = None
        return self._names[address]


def _worth(left: Left) -> tuple[bool, float]:
    return left.pool.visibility_timeout is not None, math.inf if left.unread_since is None else left.unread_since
