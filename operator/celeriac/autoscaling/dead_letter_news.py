"""Tells of new dead letters by queue and task: what a task is called is asked of the broker once there are some."""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping

from celeriac.api.keys import PoolKey
from celeriac.api.notices import Notice, Teller
from celeriac.api.reasons import Reason
from celeriac.api.words import first_of, foreign
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import DeadLetters
from celeriac.pool.layouts import effective_layout
from celeriac.pool.model import QueueLayout, WorkerPool

log = logging.getLogger(__name__)

LOOKED_AT = 100
"""Of the new ones of a queue, the last: a flood is no reason to read all of it."""
NAMED = 3
"""Tasks that are named of each queue."""
LONGEST_NAME = 100  # characters of a task's name


class DeadLetterNews:
    """Looks at one pool's dead letters at a time, so that many cost no more than one look after the other."""

    def __init__(self, teller: Teller) -> None:
        self._teller = teller
        self._looking: dict[PoolKey, asyncio.Task[None]] = {}
        self._more: dict[PoolKey, Counter[str]] = {}

    def begin(
        self,
        pool: WorkerPool,
        layout: QueueLayout | None,
        more: Mapping[str, int],
        letters: DeadLetters | None,
    ) -> None:
        """Tell of `more` of them, by queue. What comes while the broker is asked is told afterwards."""
        self._more.setdefault(pool.key, Counter()).update(more)
        if pool.key not in self._looking:
            looking = self._look(pool, effective_layout(pool, layout), letters)
            self._looking[pool.key] = asyncio.get_running_loop().create_task(looking)

    async def settle(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._looking.values(), return_exceptions=True)

    async def _look(self, pool: WorkerPool, layout: QueueLayout, letters: DeadLetters | None) -> None:
        try:
            while more := self._more.pop(pool.key, None):
                for queue, number in sorted(more.items()):
                    self._tell(pool, queue, number, await _tasks(layout, queue, number, letters))
        except Exception:
            log.exception("pool %s: new dead letters could not be told, by a fault of the operator", pool.key)
        finally:
            self._more.pop(pool.key, None)
            del self._looking[pool.key]

    def _tell(self, pool: WorkerPool, queue: str, number: int, tasks: list[str]) -> None:
        named = f" ({first_of(tasks, NAMED)})" if tasks else ""
        message = (
            f"{number} new dead letter(s) of queue {foreign(queue)}{named}: each was running in {pool.max_attempts}"
            f" workers that died; see them with `kubectl celery dead-letters list {pool.key.name}`"
        )
        log.warning("pool %s: %s", pool.key, message)
        series = f"dead-letters {queue} {' '.join(sorted(tasks)[:NAMED])}"
        self._teller.tell(Notice(pool.key, "Warning", Reason.DEAD_LETTERED, message, series))


async def _tasks(layout: QueueLayout, queue: str, number: int, letters: DeadLetters | None) -> list[str]:
    """The tasks of the newest, those of most letters first; none where the broker does not say."""
    if letters is None:
        return []
    try:
        found = await letters.newest(layout, queue, min(number, LOOKED_AT))
    except BrokerDoubt as doubt:
        log.warning("the tasks of dead letters are not known: %s", doubt)
        return []
    counted = Counter(foreign(letter.task, LONGEST_NAME) for letter in found)
    return [name if count == 1 else f"{count} x {name}" for name, count in counted.most_common()]
