"""Reads the queues in a Redis: all pools in one round trip, and further ones only where something is new."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import zip_longest
from operator import or_
from typing import Any, Final, TypeVar

from redis.exceptions import RedisError

from celeriac.api.reasons import Reason
from celeriac.brokers.doubt import BrokerDoubt, without_trace
from celeriac.brokers.readings import PoolReading, QueueSet
from celeriac.brokers.redis.board import Board, Server
from celeriac.brokers.redis.budget import one_answer
from celeriac.brokers.redis.client import RedisClient
from celeriac.brokers.redis.errors import doubt_of
from celeriac.brokers.redis.eviction import Eviction
from celeriac.brokers.redis.executor import Executor, is_refused
from celeriac.brokers.redis.message_queries import Entries
from celeriac.brokers.redis.patience import Patience
from celeriac.brokers.redis.queries import Ask, Query
from celeriac.brokers.redis.reading_plan import ReadingPlan
from celeriac.brokers.redis.rights import Part, operator_rights
from celeriac.brokers.redis.server_identity import ServerIdentity
from celeriac.brokers.redis.shares import ShareReader
from celeriac.brokers.redis.writing import Writing

READING_SECONDS: Final = 4.0
FOLLOW_MASTER_SECONDS: Final = 5.0

_IDENTITY: Final = (Ask(("INFO", "server")), Ask(("INFO", "replication")), Ask(("TIME",)))


MOST_ENTRIES: Final = 50
"""Questions about new entries in one reading, of all shares in turn: 6 MiB at most. The next reading asks on."""
MOST_PEEKS: Final = 200
"""Queues whose ETA tasks are looked for in one reading: 3 MiB if each has 100."""

T = TypeVar("T")
K = TypeVar("K")


class RedisQueues:
    """The queues of one Redis database.

    After a failure the next attempts are 0.5 s to 5 s apart, up to 60 s where no Redis answers; in between the doubt
    stands.
    """

    def __init__(
        self, client: RedisClient, where: str, clock: Callable[[], float], restart_hold_seconds: float
    ) -> None:
        """`where` names the server without credentials; `clock` is monotonic, in seconds."""
        self._where = where
        self._clock = clock
        self._client = client
        self._executor = Executor(self._client.redis, clock)
        self._identity = ServerIdentity(self._where, clock, restart_hold_seconds)
        self._eviction = Eviction(self._where, clock)
        self._writing = Writing(self._where, clock)
        self._one_at_a_time = asyncio.Lock()
        self._board = Board(ReadingPlan(()), where, clock)
        self._patience = Patience(clock)
        self._follow_at = clock() + FOLLOW_MASTER_SECONDS

    async def read(self, pools: Sequence[QueueSet]) -> Sequence[PoolReading | BrokerDoubt]:
        """Read all pools: see QueueReader.read. Takes READING_SECONDS at most."""
        try:
            async with asyncio.timeout(READING_SECONDS), self._one_at_a_time:
                self._patience.check()
                readings = await self._try_to_read(pools)
            self._identity.check_settled()
        except TimeoutError as error:
            doubt = doubt_of(error, self._where)
        except BrokerDoubt as raised:
            doubt = raised
        else:
            return readings
        raise without_trace(doubt)

    async def _try_to_read(self, pools: Sequence[QueueSet]) -> Sequence[PoolReading | BrokerDoubt]:
        """Read; on a failure drop the connection, with whatever it may still answer, and put off the next attempt."""
        try:
            with one_answer():
                readings = await self._read(pools)
        except asyncio.CancelledError:
            await self._give_up(doubt_of(TimeoutError(), self._where))
            raise
        except (RedisError, OSError) as error:
            doubt = await self._client.explain(error)
            await self._give_up(doubt)
            raise doubt from error
        except BrokerDoubt as doubt:
            await self._give_up(doubt)
            raise
        self._patience.succeeded()
        self._client.proven = True
        return readings

    async def _give_up(self, doubt: BrokerDoubt) -> None:
        self._patience.failed(doubt)
        self._client.proven = False
        await self._client.disconnect()

    async def _read(self, pools: Sequence[QueueSet]) -> Sequence[PoolReading | BrokerDoubt]:
        await self._follow_master()
        board = self._board_for(pools)
        plan = board.plan
        groups: list[Sequence[Query]] = [
            _IDENTITY,
            self._eviction.queries(),
            self._writing.queries(plan.pools[0].layout.key_prefix) if plan.pools else (),
            *board.questions(pools),
        ]
        replies = iter(await self._executor.run([query for group in groups for query in group]))
        identity, memory, writing, counts, tags, dead, hashes = ([next(replies) for _ in group] for group in groups)
        server, replication, moment = identity
        self._identity.check(_unless_refused(server), _unless_refused(replication))
        self._eviction.note([_unless_refused(reply) for reply in memory])
        self._writing.note(writing)
        board.note(counts, tags, dead, hashes)
        await self._follow_up(board)
        of_server = Server(self._eviction.durability, self._writing.full)
        answers = board.readings(of_server, _unix_time(_unless_refused(moment)))
        return await self._with_names(plan, answers) if any(map(_is_doubt, answers)) else answers

    async def _with_names(
        self, plan: ReadingPlan, answers: Sequence[PoolReading | BrokerDoubt]
    ) -> Sequence[PoolReading | BrokerDoubt]:
        """Let doubts about permissions name all that is lacked, of all of these pools in one look."""
        of_pools = [operator_rights([Part(pool.layout, pool.queues, pool.agent is not None)]) for pool in plan.pools]
        denied = [
            (each, rights)
            for each, rights in zip(answers, of_pools, strict=True)
            if isinstance(each, BrokerDoubt) and each.reason == Reason.BROKER_PERMISSION_DENIED
        ]
        if denied:
            await self._client.named(denied[0][0], reduce(or_, (rights for _, rights in denied)))
        return [
            await self._client.named(each, rights) if isinstance(each, BrokerDoubt) else each
            for each, rights in zip(answers, of_pools, strict=True)
        ]

    async def _follow_master(self) -> None:
        if self._clock() >= self._follow_at:
            self._follow_at = self._clock() + FOLLOW_MASTER_SECONDS
            await self._client.follow_master()

    def _board_for(self, pools: Sequence[QueueSet]) -> Board:
        """The board of these pools; what is remembered of queues that nobody reads any more is dropped."""
        if self._board.plan.pools != tuple(pools):
            plan = ReadingPlan(pools, self._board.plan)
            self._board = Board(plan, self._where, self._clock, self._board)
        return self._board

    async def _follow_up(self, board: Board) -> None:
        """Ask for what the first replies leave open; nothing in a steady state."""
        shares = list(board.shares.values())
        entries = _in_turn(shares, board.entries())[:MOST_ENTRIES]
        peeks = board.peeks(MOST_PEEKS)
        queries: list[Query] = [*(query for _, query in entries), *(query for _, query in peeks)]
        replies = iter(await self._executor.run(queries))
        for share, query in entries:
            share.note_entries(query, next(replies))
        for place, _ in peeks:
            board.note_peek(place, next(replies))
        stale = [(share, exchange) for share in shares for exchange in share.stale_exchanges()]
        tables = await self._executor.run([share.bindings_query(exchange) for share, exchange in stale])
        for (share, exchange), table in zip(stale, tables, strict=True):
            share.note_bindings(exchange, table)


def _is_doubt(answer: PoolReading | BrokerDoubt) -> bool:
    return isinstance(answer, BrokerDoubt)


def _in_turn(
    shares: Sequence[ShareReader], of_shares: Sequence[Sequence[Entries]]
) -> list[tuple[ShareReader, Entries]]:
    """The first question of each share, then the second of each, and so on."""
    rounds = zip_longest(*([(share, query) for query in some] for share, some in zip(shares, of_shares, strict=True)))
    return [each for one in rounds for each in one if each is not None]


def _unless_refused(reply: Any) -> Any:
    """Return the reply, None where the ACL or a renamed command refuses it. Raises every other error."""
    if is_refused(reply):
        return None
    if isinstance(reply, Exception):
        raise reply
    return reply


def _unix_time(moment: tuple[int, int] | None) -> float:
    """Redis's own TIME (seconds, microseconds); the operator's where it is refused."""
    return time.time() if moment is None else moment[0] + moment[1] / 1e6
