"""What recovery tells of a pool: events where the pool exists, lines in the log, counts. The same is told once."""

import logging
import math
from collections.abc import Collection, Hashable, Mapping
from typing import Final

from celeriac.api.keys import PoolKey
from celeriac.api.notices import Notice, Teller
from celeriac.api.reasons import Reason
from celeriac.brokers.agents import Process, RegistryEntry, Restored
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.cluster.text import bounded
from celeriac.recovery.gone import Verdict
from celeriac.recovery.place import PoolHere
from celeriac.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

AGAIN_SECONDS: Final = 600.0
"""The same trouble is told again after so long: it is still there."""
REMEMBERED: Final = 10_000
"""Troubles that are remembered as told."""


class Tidings:
    """Tells. A pool is named by its uid: what a registry says of names is nobody's reason for an event on a pool."""

    def __init__(self, metrics: Metrics, teller: Teller) -> None:
        self.living: Mapping[str, PoolKey] = {}
        self._metrics = metrics
        self._teller = teller
        self._told: dict[tuple[Hashable, str], float] = {}

    def unread(self, place: str, entry: RegistryEntry, key: PoolKey | None, doubt: BrokerDoubt, now: float) -> None:
        """What a pool has in a registry is not all known."""
        living = self.living.get(entry.pool_uid)
        if living is not None:
            self._metrics.recovery_failure(living, doubt.reason)
        if not self._is_news((place, entry), doubt.reason, now):
            return
        message = f"what ended workers held may not be put back: {doubt}"
        self._warn(entry.pool_uid, key, doubt.reason, message, f"registry-{doubt.reason}")

    def read(self, place: str, entry: RegistryEntry, doubts: Collection[BrokerDoubt]) -> None:
        """These are all troubles that a pool has now: others are over, and would be news."""
        reasons = {doubt.reason for doubt in doubts}
        over = [each for each in Reason if ((place, entry), each) in self._told and each not in reasons]
        for reason in over:
            del self._told[(place, entry), reason]

    def unlisted(self, place: str, registry: str, doubt: BrokerDoubt, now: float) -> None:
        """A registry does not tell which pools it has: those that were deleted may not be found."""
        if self._is_news((place, registry), doubt.reason, now):
            log.warning("what workers of deleted pools held may not be found: %s", doubt)

    def not_restored(self, process: Process, doubt: BrokerDoubt, now: float) -> None:
        """Of what a process held that is gone, something is not back yet."""
        living = self.living.get(process.pool_uid)
        if living is not None:
            self._metrics.recovery_failure(living, doubt.reason)
        if self._is_news((process.entry, process.process), doubt.reason, now):
            message = f"what worker {process.pod} held is not back in its queues yet: {doubt}"
            self._warn(process.pool_uid, _key(process), doubt.reason, message, "restore")

    def restored(self, process: Process, verdict: Verdict, restored: Restored) -> None:
        """What a process held that is gone is back."""
        if restored == Restored():
            return
        log.info(
            "pool %s: worker %s has ended (%s): %d messages are back in their queues, %d dead letters",
            *(_key(process), process.pod, verdict.why, restored.restored, restored.dead),
        )
        living = self.living.get(process.pool_uid)
        if living is None:
            return
        self._metrics.restored(living, restored.restored, restored.dead)
        if restored.restored:
            message = f"{restored.restored} messages of worker {process.pod} are back in their queues: {verdict.why}"
            self._teller.tell(Notice(living, "Normal", Reason.RESTORED, message, process.pod))

    def taken_over(self, entry: RegistryEntry, restored: Restored) -> None:
        """What workers without the agent left is back."""
        living = self.living.get(entry.pool_uid)
        if living is not None and restored.restored:
            message = f"{restored.restored} messages that an earlier worker left behind are back in their queues"
            self._teller.tell(Notice(living, "Normal", Reason.RESTORED, message, "take-over"))

    def not_cleared(
        self, place: str, entry: RegistryEntry, key: PoolKey | None, doubt: BrokerDoubt, now: float
    ) -> None:
        """What earlier workers left could not be taken over, or the rest of a pool that is gone not be removed."""
        living = self.living.get(entry.pool_uid)
        if living is not None:
            self._metrics.recovery_failure(living, doubt.reason)
        if self._is_news((place, entry), f"clean-up-{doubt.reason}", now):
            message = f"what earlier workers left cannot be cleared up: {doubt}"
            self._warn(entry.pool_uid, key, doubt.reason, message, "clean-up")

    def given_up(self, place: str, entry: RegistryEntry, pool: PoolHere) -> None:
        """Nobody looks any more for what a pool that is gone left."""
        self._metrics.given_up()
        log.warning(
            "pool %s is gone, and what its workers held in %s is given up: run `celeriac evacuate` there: %s",
            *(pool.key or f"of uid {entry.pool_uid}", place, "; ".join(map(str, pool.doubts))),
        )

    def not_found(self, key: PoolKey, pod: str, doubt: BrokerDoubt, now: float) -> None:
        """The broker of a Pod without its pool is not known (any more)."""
        if self._is_news(key, doubt.reason, now):
            log.warning(
                "pool %s is gone or has moved, and the broker of its Pod %s cannot be found: what its workers hold when"
                " they die stays there, until `celeriac evacuate` puts it back: %s",
                *(key, pod, bounded(str(doubt))),
            )

    def _warn(self, pool_uid: str, key: PoolKey | None, reason: Reason, message: str, series: str) -> None:
        log.warning("pool %s: %s", key or f"of uid {pool_uid}", message)
        living = self.living.get(pool_uid)
        if living is not None:
            self._teller.tell(Notice(living, "Warning", reason, message, series))

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
