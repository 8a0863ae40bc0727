"""Brings what the agents count of tasks to the metrics: for pools whose agents have counted more, and no others."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from celeriac.api.keys import PoolKey
from celeriac.api.notices import Notice, Teller
from celeriac.api.reasons import Reason
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import Broker, TaskCounts
from celeriac.brokers.readings import PoolReading
from celeriac.brokers.task_counts import Rows
from celeriac.pool.model import WorkerPool
from celeriac.tasks.tally import Tally
from celeriac.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 2.0
"""Between two readings of one pool."""
DOUBT_SECONDS: Final = 5.0
"""The same after one that failed."""
TOLD_AT: Final = 2
"""So many failed readings in a row are told."""

Heard = list[tuple[str, int]]
"""Which processes report, and what of each changes when it has counted."""


@dataclass
class _Known:
    """What is known of one pool.

    reading  the last one of its queues
    heard    what its reports said then; None: nothing yet
    next_at  before that nothing is read (monotonic seconds)
    doubts   failed readings in a row
    unread   why the counts cannot be read, once that is told
    """

    uid: str
    tally: Tally
    reading: PoolReading | None = None
    heard: Heard | None = None
    is_due: bool = True
    next_at: float = 0.0
    doubts: int = 0
    unread: str | None = None


class TaskReader:
    """Reads the counts of each pool when its reports tell of new ones, when a worker has gone, and once at first."""

    def __init__(
        self,
        metrics: Metrics,
        teller: Teller,
        most_names: int,
        changed: Callable[[PoolKey], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`most_names` of each pool have series of their own; 0: nothing is read. `changed`: another `unread`."""
        self._metrics, self._teller, self._changed, self._clock = metrics, teller, changed, clock
        self._most_names = most_names
        self._known: dict[PoolKey, _Known] = {}
        self._reading: dict[int, asyncio.Task[None]] = {}

    def heard(self, broker: Broker, pools: Sequence[WorkerPool], readings: Sequence[PoolReading | BrokerDoubt]) -> None:
        """One broker was read: begin to read the counts of the pools that have new ones. Returns at once."""
        if not self._most_names or broker.task_counts is None or id(broker) in self._reading:
            return
        now = self._clock()
        due = [pool for pool, reading in zip(pools, readings, strict=True) if self._is_due(pool, reading, now)]
        if due:
            work = asyncio.get_running_loop().create_task(self._read(broker.task_counts, due))
            self._reading[id(broker)] = work
            work.add_done_callback(lambda _: self._reading.pop(id(broker), None))

    def unread(self, key: PoolKey) -> str | None:
        """What is to be told of a pool whose counts cannot be read."""
        known = self._known.get(key)
        return known.unread if known is not None else None

    def retain(self, keys: Collection[PoolKey]) -> None:
        """Forget all pools but these."""
        for key in self._known.keys() - keys:
            del self._known[key]

    def tell_all_again(self) -> None:
        """The metrics have forgotten the pools."""
        for known in self._known.values():
            known.is_due = True

    async def settle(self) -> None:
        """Wait for readings under way."""
        await asyncio.gather(*self._reading.values(), return_exceptions=True)

    def _is_due(self, pool: WorkerPool, reading: PoolReading | BrokerDoubt, now: float) -> bool:
        if not pool.agent or not isinstance(reading, PoolReading):
            return False
        known = self._known.get(pool.key)
        if known is None or known.uid != pool.uid:
            known = self._known[pool.key] = _Known(pool.uid, Tally(self._most_names))
        if known.reading is not reading:  # else nothing of it has changed
            known.reading = reading
            heard = [(each.process, each.counted) for each in reading.reports.values()]
            known.is_due |= known.heard is None or heard != known.heard
            known.heard = heard
        return known.is_due and now >= known.next_at

    async def _read(self, counts: TaskCounts, pools: Sequence[WorkerPool]) -> None:
        for pool in pools:
            self._known[pool.key].is_due = False  # what comes from now on is news
        try:
            answers = await counts.read([(pool.broker.layout.key_prefix, pool.uid) for pool in pools])
        except BrokerDoubt as doubt:
            answers = [doubt] * len(pools)
        except Exception as error:
            log.exception("task counts cannot be read, by a fault of the operator")
            answers = [BrokerDoubt(Reason.BROKER_ERROR, f"a fault of the operator ({type(error).__name__})")] * len(
                pools
            )
        for pool, answer in zip(pools, answers, strict=True):
            known = self._known.get(pool.key)
            if known is None or known.uid != pool.uid:
                continue
            if isinstance(answer, BrokerDoubt):
                self._doubted(pool, known, answer)
            else:
                self._took(pool, known, answer)

    def _took(self, pool: WorkerPool, known: _Known, rows: Rows) -> None:
        known.next_at, known.doubts = self._clock() + PAUSE_SECONDS, 0
        self._metrics.tasks(pool.key, known.tally.take(rows))
        if known.unread is not None:
            known.unread = None
            self._changed(pool.key)

    def _doubted(self, pool: WorkerPool, known: _Known, doubt: BrokerDoubt) -> None:
        """The counters stand until it is over; said once, and not of what passes at once."""
        known.is_due, known.next_at = True, self._clock() + DOUBT_SECONDS
        known.doubts += 1
        if known.doubts < TOLD_AT:
            return
        self._metrics.tasks_unread(pool.key)
        if known.doubts == TOLD_AT:
            message = known.unread = f"the task metrics of this pool stand still: {doubt}"
            log.warning("pool %s: %s", pool.key, message)
            self._teller.tell(
                Notice(pool.key, "Warning", Reason.TASK_COUNTS_UNREADABLE, message, "task-counts", "ReadTaskCounts")
            )
            self._changed(pool.key)
