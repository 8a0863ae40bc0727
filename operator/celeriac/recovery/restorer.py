"""Carries out what a look has found: puts back, takes over, forgets. A failure of one pool is that pool's alone."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from celeriac.api.authority import Authority
from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.agents import NotAllRestored, Process, RegistryEntry
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import Salvage
from celeriac.recovery.gone import Verdict
from celeriac.recovery.look import Findings, Look
from celeriac.recovery.place import Place, PoolHere
from celeriac.recovery.tidings import Tidings

log = logging.getLogger(__name__)

TAKE_OVER_SECONDS = 30.0
OF_ONE_POOL = {
    Reason.BROKER_WRONG_TYPE,
    Reason.BROKER_PERMISSION_DENIED,
    Reason.BROKER_ERROR,
    Reason.MESSAGE_TOO_LARGE,
    Reason.REGISTRATION_UNREADABLE,
}
"""Doubts after which the next process is worth a try: they are about keys, not about the connection."""

AT_ONCE = 4
"""Pools of a broker whose messages are put back at the same time."""

T = TypeVar("T")


class Restorer:
    """Writes to one place after one look at it."""

    def __init__(
        self,
        place: Place,
        look: Look,
        salvages: Mapping[BrokerAddress, Salvage],
        authority: Authority,
        tidings: Tidings,
        clock: Callable[[], float],
        *,
        sees_all: bool,
    ) -> None:
        """`salvages` are what the credentials that could be used lead to. `sees_all`: this operator knows all pools.

        Otherwise one that it does not know (any more) may be another operator's and asleep: its keys stay.
        """
        self._place = place
        self._look = look
        self._salvages = salvages
        self._authority = authority
        self._tidings = tidings
        self._clock = clock
        self._sees_all = sees_all
        self._lost: dict[BrokerAddress, BrokerDoubt] = {}

    async def carry_out(self, findings: Findings) -> list[PoolHere]:
        """Do all that is to be done, and note in the place what is left. Returns the pools that are done with."""
        turn = asyncio.Semaphore(AT_ONCE)
        of_pools: dict[RegistryEntry, list[tuple[Process, Verdict]]] = {}
        for process, verdict in findings.gone:
            of_pools.setdefault(process.entry, []).append((process, verdict))
        await asyncio.gather(*(self._restore_all(turn, entry, gone) for entry, gone in of_pools.items()))
        for entry in findings.take_overs:
            await self._take_over(entry)
        done_with = [(self._place.pools[entry], await self._forget(entry)) for entry in findings.forgotten]
        return [pool for pool, is_forgotten in done_with if is_forgotten]

    async def _restore_all(
        self, turn: asyncio.Semaphore, entry: RegistryEntry, gone: Sequence[tuple[Process, Verdict]]
    ) -> None:
        """Put back what the processes of one pool held; other pools need not wait for one that held very much."""
        async with turn:
            for process, verdict in gone:
                if await self._restore(process, verdict):
                    self._place.pools[entry].forget(process)
                elif self._place.is_ours(entry):
                    self._place.unresolved |= {entry.pool_uid}

    async def _restore(self, process: Process, verdict: Verdict) -> bool:
        """Put back what a process held; tell whether all of it is."""
        done = await self._try(process.entry, lambda salvage: salvage.restore(process, died=verdict.died))
        if isinstance(done, NotAllRestored):
            self._tidings.restored(self._place, process, verdict, done.restored)
        if isinstance(done, BrokerDoubt):
            self._tidings.not_restored(self._place, process, done, self._clock())
            return False
        self._tidings.restored(self._place, process, verdict, done)
        return True

    async def _take_over(self, entry: RegistryEntry) -> None:
        """Put back what plain workers left in the shared hash: with the agent everywhere nobody else does."""
        pool = self._place.pools[entry]
        spec, timeout = pool.spec, pool.visibility_timeout
        if spec is None or timeout is None:
            return
        pool.take_over_at = self._clock() + TAKE_OVER_SECONDS
        layout, queues = pool.layout or spec.broker.layout, spec.queues
        done = await self._try(entry, lambda each: each.take_over(layout, queues, older_than_seconds=timeout))
        if isinstance(done, NotAllRestored):
            self._tidings.taken_over(self._place, entry, done.restored)
        if isinstance(done, BrokerDoubt):
            self._tidings.not_cleared(self._place, entry, done, self._clock())
        else:
            self._tidings.taken_over(self._place, entry, done)

    async def _forget(self, entry: RegistryEntry) -> bool:
        """Remove what is left of a pool that is gone."""
        pool = self._place.pools[entry]
        if pool.lives:
            return False  # it came back while others were restored
        if not self._sees_all:
            del self._place.pools[entry]
            return True
        done = await self._try(entry, lambda salvage: salvage.forget_pool(entry))
        if isinstance(done, BrokerDoubt):
            self._tidings.not_cleared(self._place, entry, done, self._clock())
            return False
        del self._place.pools[entry]
        return True

    async def _try(self, entry: RegistryEntry, work: Callable[[Salvage], Awaitable[T]]) -> T | BrokerDoubt:
        """Do it with the credentials that have read the pool, while this process may act and they lead somewhere."""
        address = self._look.reader(entry)
        if not self._authority.may_judge_pods:
            return BrokerDoubt(Reason.BROKER_ERROR, "this operator does not act any more")
        if address in self._lost:
            return self._lost[address]
        if address not in self._salvages:
            return BrokerDoubt(Reason.BROKER_UNSUPPORTED, "this broker gives back by itself what workers held")
        try:
            return await work(self._salvages[address])
        except BrokerDoubt as doubt:
            if doubt.reason not in OF_ONE_POOL:
                self._lost[address] = doubt
            return doubt
        except Exception as error:
            log.exception("what ended workers held is not cleared up, by a fault of the operator")
            return BrokerDoubt(Reason.BROKER_ERROR, f"a fault of the operator ({type(error).__name__}); see its log")
