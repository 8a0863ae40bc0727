"""What recovery tells of a pool: events where the pool exists, lines in the log, counts. The same is told once."""

import logging
import math
from collections.abc import Hashable, Iterable, Mapping
from typing import Final

from celeriac.api.keys import PoolKey
from celeriac.api.notices import Notice, Teller
from celeriac.api.reasons import Reason
from celeriac.brokers.agents import Process, RegistryEntry, Restored
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.cluster.text import bounded
from celeriac.recovery.gone import Verdict
from celeriac.recovery.place import Place, PoolHere
from celeriac.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

AGAIN_SECONDS: Final = 600.0
"""The same trouble is told again after so long: it is still there."""
REMEMBERED: Final = 10_000
"""Troubles that are remembered as told."""
MOST_STRANGE: Final = 100
"""Of which Pods tell that they name a broker which nobody knows."""
STRANGERS: Final = "strangers"
"""Pools of others in a registry, as a trouble."""


class Tidings:
    """Tells. What a broker says is a reason for an event on a pool, or for a count of it, only where it is its own."""

    def __init__(self, metrics: Metrics, teller: Teller) -> None:
        self._metrics = metrics
        self._teller = teller
        self._told: dict[tuple[Hashable, str], float] = {}

    def looked(self, place: Place, list_doubts: Iterable[tuple[str, BrokerDoubt]], now: float) -> None:
        """What a look at a place could not read or understand."""
        unreached: dict[Reason, list[str]] = {}
        for entry, pool in place.pools.items():
            self._forget_all_but(place, entry, pool.troubles)
            for doubt in pool.troubles:
                self._count(place, entry, doubt)
                if pool.found is not None:
                    self._unread(place, entry, pool, doubt, now)
                elif self._is_news((place.name, entry), doubt.reason, now):
                    unreached.setdefault(doubt.reason, []).append(f"{_words(entry, pool)}: {doubt}")
        for pools in unreached.values():  # of a pool that exists, condition BrokerReachable tells the same
            others = f" (and of {len(pools) - 1} other pools)" if len(pools) > 1 else ""
            log.warning("what ended workers held cannot be looked for: pool %s%s", pools[0], others)
        for registry, doubt in list_doubts:
            if self._is_news((place.name, registry), doubt.reason, now):
                log.warning("what workers of deleted pools held may not be found: %s", doubt)
        if place.strangers and self._is_news((place.name, ""), STRANGERS, now):
            log.warning(
                "%d pools in the registry of %s are not heeded, the first has uid %s: in their namespace no pool and no"
                " Pod names this broker. What workers of theirs hold is put back by `celeriac evacuate`",
                *(len(place.strangers), place.name, place.strangers[0].pool_uid),
            )
        self._tell_of_lost_ways(place, now)

    def _unread(self, place: Place, entry: RegistryEntry, pool: PoolHere, doubt: BrokerDoubt, now: float) -> None:
        """What a pool has in a registry is not all known."""
        if self._is_news((place.name, entry), doubt.reason, now):
            message = f"what ended workers held may not be put back: {doubt}"
            self._warn(place, entry, pool, doubt.reason, message, f"registry-{doubt.reason}")

    def _tell_of_lost_ways(self, place: Place, now: float) -> None:
        """Say where what leads to the broker of a deleted pool went with it."""
        for source, way in place.ways.items():
            needed = any(pool.source == source and not pool.lives for pool in place.pools.values())
            if way.lost is not None and needed and self._is_news((place.name, source), way.lost.reason, now):
                log.warning(
                    "what workers of deleted pools held in %s is looked for with the credentials of before, which a"
                    " restart of the operator forgets: %s",
                    *(place.name, way.lost),
                )

    def not_restored(self, place: Place, process: Process, doubt: BrokerDoubt, now: float) -> None:
        """Of what a process held that is gone, something is not back yet."""
        self._count(place, process.entry, doubt)
        if self._is_news((process.entry, process.process), doubt.reason, now):
            message = f"what worker {process.pod} held is not back in its queues yet: {doubt}"
            self._warn(place, process.entry, PoolHere(_key(process)), doubt.reason, message, "restore")

    def restored(self, place: Place, process: Process, verdict: Verdict, restored: Restored) -> None:
        """What a process held that is gone is back."""
        if restored == Restored():
            return
        log.info(
            "pool %s: worker %s has ended (%s): %d messages are back in their queues, %d dead letters",
            *(_key(process), process.pod, verdict.why, restored.restored, restored.dead),
        )
        living = place.living_at(process.entry)
        if living is None:
            return
        self._metrics.restored(living, restored.restored, restored.dead)
        if restored.restored:
            message = f"{restored.restored} messages of worker {process.pod} are back in their queues: {verdict.why}"
            self._teller.tell(Notice(living, "Normal", Reason.RESTORED, message, process.pod))

    def taken_over(self, place: Place, entry: RegistryEntry, restored: Restored) -> None:
        """What workers without the agent left is back."""
        living = place.living_at(entry)
        if living is not None and restored.restored:
            message = f"{restored.restored} messages that an earlier worker left behind are back in their queues"
            self._teller.tell(Notice(living, "Normal", Reason.RESTORED, message, "take-over"))

    def not_cleared(self, place: Place, entry: RegistryEntry, doubt: BrokerDoubt, now: float) -> None:
        """What earlier workers left could not be taken over, or the rest of a pool that is gone not be removed."""
        self._count(place, entry, doubt)
        if self._is_news((place.name, entry), f"clean-up-{doubt.reason}", now):
            message = f"what earlier workers left cannot be cleared up: {doubt}"
            self._warn(place, entry, place.pools[entry], doubt.reason, message, "clean-up")

    def given_up(self, place: Place, entry: RegistryEntry, pool: PoolHere) -> None:
        """Nobody looks any more for what a pool that is gone left."""
        self._metrics.given_up()
        log.warning(
            "pool %s is gone, and what its workers held in %s is given up: run `celeriac evacuate` there: %s",
            *(_words(entry, pool), place.name, "; ".join(map(str, pool.doubts))),
        )

    def not_found(self, key: PoolKey, pod: str, doubt: BrokerDoubt, now: float) -> None:
        """The broker of a Pod without its pool is not known (any more)."""
        if self._is_news(key, doubt.reason, now):
            log.warning(
                "pool %s is gone or has moved, and the broker of its Pod %s cannot be found: what its workers hold when"
                " they die stays there, until `celeriac evacuate` puts it back: %s",
                *(key, pod, bounded(str(doubt))),
            )

    def strange_pods(self, pods: Mapping[PoolKey, str], now: float) -> None:
        """Pods name brokers that no pool of theirs is known to have named; each pool is told by one of its Pods."""
        news = [key for key in sorted(pods)[:MOST_STRANGE] if self._is_news(key, STRANGERS, now)]
        if news:
            log.warning(
                "%d pools are gone or have moved, and no operator is known to have seen them on the broker that their"
                " Pods name, as Pod %s/%s: it is not connected to. What workers there hold is put back by `celeriac"
                " evacuate`",
                *(len(pods), news[0].namespace, pods[news[0]]),
            )

    def _count(self, place: Place, entry: RegistryEntry, doubt: BrokerDoubt) -> None:
        living = place.living_at(entry)
        if living is not None:
            self._metrics.recovery_failure(living, doubt.reason)

    def _warn(
        self, place: Place, entry: RegistryEntry, pool: PoolHere, reason: Reason, message: str, series: str
    ) -> None:
        log.warning("pool %s: %s", _words(entry, pool), message)
        living = place.living_at(entry)
        if living is not None:
            self._teller.tell(Notice(living, "Warning", reason, message, series))

    def _forget_all_but(self, place: Place, entry: RegistryEntry, doubts: Iterable[BrokerDoubt]) -> None:
        """These are all troubles that a pool has now: others are over, and would be news."""
        if not self._told:
            return
        reasons = {doubt.reason for doubt in doubts}
        over = [each for each in Reason if ((place.name, entry), each) in self._told and each not in reasons]
        for reason in over:
            del self._told[(place.name, entry), reason]

    def _is_news(self, what: Hashable, trouble: str, now: float) -> bool:
        """Whether this was not told of it lately. Counts and names in a message change with every look."""
        told = self._told.pop((what, trouble), -math.inf)
        is_news = now - told >= AGAIN_SECONDS
        self._told[what, trouble] = now if is_news else told
        if len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]
        return is_news


def _key(process: Process) -> PoolKey:
    return PoolKey(process.namespace, process.pool)


def _words(entry: RegistryEntry, pool: PoolHere) -> str:
    """The name of a pool, or what is known instead."""
    return str(pool.key) if pool.key is not None else f"of uid {entry.pool_uid}"
