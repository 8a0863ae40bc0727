"""Points out a queue to which no message ever came while another one's name looks like it: one of the two is a slip.

Other queues are those of pools of the same namespace on the same broker, and what the broker knows by name. Pools are
compared when they change; a broker is asked for a few names now and then. A pool that works, or sleeps, costs nothing.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from celeriac.api.keys import PoolKey
from celeriac.api.words import quoted
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import QueueNames
from celeriac.pool.layouts import effective_layout
from celeriac.pool.model import QueueLayout, WorkerPool
from celeriac.pool.spelling import looks_like, sounds, spellings

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 10.0
ASK_SECONDS: Final = 5.0
"""Between two questions to brokers: each is some 900 names, which take a few milliseconds to write."""
UNUSED_SECONDS: Final = 30.0
"""A queue that has been read for so long without a message is one to which none comes."""
ASK_AGAIN_SECONDS: Final = 6 * 3600.0
"""After which a broker is asked anew for names like that of a queue."""
ALIKE: Final = 50
"""Pools that are compared with one: names that all look alike are no slips."""


class Use(Protocol):
    """What is known of one pool's queues (`celeriac.autoscaling.pool_scaler`)."""

    @property
    def used(self) -> frozenset[str]:
        """Queues in which a message was seen."""

    @property
    def read_since(self) -> float | None:
        """Since when its queues are read (monotonic seconds); None: they are not, or its workers have had tasks."""

    @property
    def layout(self) -> QueueLayout | None:
        """As its workers have said."""


class _Queue(NamedTuple):
    """One queue of one pool."""

    pool: PoolKey
    name: str


class _Compared(NamedTuple):
    """Queues, and which of them look like each other."""

    queues: Sequence[_Queue]
    pairs: Mapping[_Queue, _Queue]


class SpellingWatch:
    """Remembers of each pool what is to be told. `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._look_at = self._next_ask_at = 0.0
        self._unused: dict[_Queue, tuple[BrokerAddress, WorkerPool]] = {}
        self._pairs: dict[_Queue, _Queue] = {}
        self._compared: dict[tuple[BrokerAddress, str], _Compared] = {}
        self._by_broker: dict[_Queue, str] = {}
        self._ask_at: dict[_Queue, float] = {}
        self._line: deque[_Queue] = deque()
        self._asking: asyncio.Task[None] | None = None
        self._told: dict[PoolKey, str] = {}

    def of(self, key: PoolKey) -> str | None:
        """What is to be told of this pool."""
        return self._told.get(key)

    def look(
        self,
        readable: Mapping[BrokerAddress, Sequence[WorkerPool]],
        uses: Mapping[PoolKey, Use],
        names: Callable[[BrokerAddress], QueueNames | None],
    ) -> list[PoolKey]:
        """Look again if it is time to; returns the pools of which something else is to be told than before."""
        now = self._clock()
        if now >= self._next_ask_at:
            self._next_ask_at = now + ASK_SECONDS
            self._ask(uses, names, now)
        if now < self._look_at:
            return []
        self._look_at = now + LOOK_SECONDS
        self._compare(readable)
        self._unused = {
            _Queue(pool.key, queue): (address, pool)
            for address, pools in readable.items()
            for pool in pools
            for queue in _unused(pool, uses.get(pool.key), now)
        }
        self._by_broker = {queue: found for queue, found in self._by_broker.items() if queue in self._unused}
        self._ask_at = {queue: at for queue, at in self._ask_at.items() if queue in self._unused}
        return self._tell()

    async def settle(self) -> None:
        """Wait for the question under way."""
        if self._asking is not None:
            await asyncio.gather(self._asking, return_exceptions=True)

    def _compare(self, readable: Mapping[BrokerAddress, Sequence[WorkerPool]]) -> None:
        """Compare the names of one namespace on one broker with each other, where they are not those of before."""
        groups: dict[tuple[BrokerAddress, str], list[_Queue]] = {}
        for address, pools in readable.items():
            for pool in pools:
                names = (_Queue(pool.key, queue) for queue in pool.queues)
                groups.setdefault((address, pool.key.namespace), []).extend(names)
        compared: dict[tuple[BrokerAddress, str], _Compared] = {}
        for group, queues in groups.items():
            before = self._compared.get(group)
            compared[group] = before if before and before.queues == queues else _Compared(queues, _pairs(queues))
        self._compared = compared
        self._pairs = {queue: pair for each in compared.values() for queue, pair in each.pairs.items()}

    def _tell(self) -> list[PoolKey]:
        told: dict[PoolKey, str] = {}
        for queue in self._unused:
            if queue.pool in told:
                continue
            if (pair := self._pairs.get(queue)) is not None:
                told[queue.pool] = _words(queue.name, f"pool {pair.pool.name} reads queue {quoted(pair.name)}")
            elif (found := self._by_broker.get(queue)) is not None:
                told[queue.pool] = _words(queue.name, f"the broker knows queue {quoted(found)}")
        before, self._told = self._told, told
        return [key for key in {*before, *told} if before.get(key) != told.get(key)]

    def _ask(
        self, uses: Mapping[PoolKey, Use], names: Callable[[BrokerAddress], QueueNames | None], now: float
    ) -> None:
        """Ask one broker for one name: of many pools each has its turn."""
        if self._asking is not None and not self._asking.done():
            return
        if not self._line:
            self._line.extend(queue for queue in self._unused if self._ask_at.get(queue, 0.0) <= now)
        while self._line:
            queue = self._line.popleft()
            found, use = self._unused.get(queue), uses.get(queue.pool)
            if found is None or use is None or queue in self._pairs:
                continue
            address, pool = found
            asked = names(address)
            self._ask_at[queue] = now + ASK_AGAIN_SECONDS
            if asked is not None:
                layout = effective_layout(pool, use.layout)
                self._asking = asyncio.get_running_loop().create_task(self._know(queue, layout, asked))
                return

    async def _know(self, queue: _Queue, layout: QueueLayout, names: QueueNames) -> None:
        try:
            found = await names.known(layout, sorted(spellings(queue.name)))
        except BrokerDoubt as doubt:
            log.debug("names like that of queue %s are not known: %s", quoted(queue.name), doubt)
            return
        except Exception:
            log.exception("names of queues could not be compared, by a fault of the operator")
            return
        alike = [name for name in found if looks_like(queue.name, name)]
        if alike:
            self._by_broker[queue] = alike[0]
            self._look_at = 0.0


def _unused(pool: WorkerPool, use: Use | None, now: float) -> Sequence[str]:
    if use is None or use.read_since is None or now - use.read_since < UNUSED_SECONDS:
        return ()
    return [queue for queue in pool.queues if queue not in use.used]


def _pairs(queues: Sequence[_Queue]) -> dict[_Queue, _Queue]:
    """Queues that look like each other, each with the first such."""
    pairs: dict[_Queue, _Queue] = {}
    heard: dict[str, list[_Queue]] = {}
    for queue in queues:
        for sound in sounds(queue.name):
            heard.setdefault(sound, []).append(queue)
    for alike in heard.values():
        for one in alike if 1 < len(alike) <= ALIKE else ():
            other = next((each for each in alike if looks_like(one.name, each.name)), None)
            if other is not None:
                pairs.setdefault(one, other)
    return pairs


def _words(queue: str, what: str) -> str:
    return (
        f"no message has come to queue {quoted(queue)}, and {what}: if that is the one that is meant, correct"
        " spec.queues, or the name to which tasks are sent"
    )
