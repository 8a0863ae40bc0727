"""What each action finds out, and does."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from celeriac import __version__
from celeriac.answering.request import Action, Request
from celeriac.answering.words import Result, explanation, health, queues, top
from celeriac.api.keys import PoolKey
from celeriac.api.words import first_of, foreign
from celeriac.autoscaling.accounts import Account, Accounts
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import UNROUTABLE, Broker, DeadLetters
from celeriac.brokers.readings import PoolReading
from celeriac.connecting.connections import Connections
from celeriac.connecting.credentials import Credentials
from celeriac.pool.model import InvalidPool, WorkerPool
from celeriac.watching.store import Store

NAMED: Final = 8


class Refused(Exception):
    """Why a request cannot be answered, as a sentence with the cure."""


class Answers:
    """Asks the tick, and the brokers of pools. Every method raises Refused and BrokerDoubt."""

    def __init__(
        self, store: Store, accounts: Accounts, credentials: Credentials, connections: Connections, identity: str
    ) -> None:
        """`identity`: the name by which this process holds the Lease."""
        self._identity = identity
        self._store = store
        self._accounts = accounts
        self._credentials = credentials
        self._connections = connections

    def is_ours(self, request: Request) -> bool:
        """Whether this operator serves what is asked about; another shard's is left to it."""
        if request.pool:
            return self._store.pools.get(PoolKey(request.key.namespace, request.pool)) is not None
        return any(known.key.namespace == request.key.namespace for known in self._store.pools.values())

    async def to(self, request: Request) -> tuple[str, Result]:
        """The answer: one sentence, and what was found."""
        if request.action is Action.TOP:
            return self._top(request)
        if request.action is Action.HEALTH:
            return await self._health(request)
        account = self._account(request)
        if request.action is Action.EXPLAIN:
            return self._explain(account)
        if request.action is Action.QUEUES:
            return self._queues(account)
        return await self._letters(request, account)

    def _top(self, request: Request) -> tuple[str, Result]:
        wanted = [
            known
            for known in self._store.pools.values()
            if known.key.namespace == request.key.namespace and request.pool in ("", known.key.name)
        ]
        wanted.sort(key=lambda known: known.key.name)
        return f"{len(wanted)} pools", top((known.key.name, self._accounts.of(known)) for known in wanted)

    async def _health(self, request: Request) -> tuple[str, Result]:
        """Who answers is told whatever becomes of the broker."""
        lists, unread = None, None
        try:
            account = self._account(request)
            reader = self._broker(account.pool).control_lists
            lists = await reader.look(account.layout) if reader is not None else None
        except (BrokerDoubt, Refused) as error:
            unread = error.told if isinstance(error, BrokerDoubt) else str(error)
        return f"{self._identity}, {__version__}", health(self._identity, __version__, datetime.now(UTC), lists, unread)

    def _account(self, request: Request) -> Account:
        known = self._store.pools.get(PoolKey(request.key.namespace, request.pool))
        if known is None:
            raise Refused(f"there is no pool {request.pool} any more")
        if isinstance(known.spec, InvalidPool):
            raise Refused(f"its spec cannot be run: {known.spec}")
        account = self._accounts.of(known)
        if account is None:
            raise Refused("no tick has looked at the pool yet: ask again in a moment")
        return account

    def _explain(self, account: Account) -> tuple[str, Result]:
        if account.outcome is None:
            raise Refused(_unread(account) or "its Deployment is not there yet: nothing was decided")
        return account.outcome.message, explanation(account, account.outcome)

    def _queues(self, account: Account) -> tuple[str, Result]:
        if not isinstance(account.reading, PoolReading):
            raise Refused(_unread(account) or "its broker has not been read yet: ask again in a moment")
        return f"{len(account.reading.queues)} queues", queues(account.reading)

    async def _letters(self, request: Request, account: Account) -> tuple[str, Result]:
        pool, queue = account.pool, request.queue
        if queue not in (*pool.queues, UNROUTABLE):
            raise Refused(f"the pool has no queue {foreign(queue)}: {_queues_of(pool)}; {UNROUTABLE} are those of none")
        letters = self._broker(pool).dead_letters
        if letters is None:
            raise Refused("this kind of broker has no dead letters of Celeriac's")
        if request.action is Action.DEAD_LETTERS:
            return await _shown(letters, account, request)
        if request.action is Action.REQUEUE:
            to = request.to or queue
            if to not in pool.queues:
                raise Refused(f"{foreign(to)} is no queue of the pool that they could go to: {_queues_of(pool)}")
            moved = await letters.requeue(account.layout, queue, to=to, ids=request.ids)
            return f"{moved} dead letter(s) put back into {to}", {"count": moved}
        dropped = await letters.purge(account.layout, queue, ids=request.ids)
        return f"{dropped} dead letter(s) of {queue} deleted", {"count": dropped}

    def _broker(self, pool: WorkerPool) -> Broker:
        address = self._credentials.of_pool(pool)
        if isinstance(address, BrokerDoubt):
            raise address
        if address is None:
            raise Refused("its broker has not been tried yet: ask again in a moment")
        return self._connections.broker(address)


async def _shown(letters: DeadLetters, account: Account, request: Request) -> tuple[str, Result]:
    count = await letters.count(account.layout, request.queue)
    found = [
        {"id": foreign(each.id), "task": foreign(each.task), "reason": foreign(each.reason)}
        for each in await letters.oldest(account.layout, request.queue, request.limit, ids=request.ids)
    ]
    return f"{count} dead letter(s) in {request.queue}", {"queue": request.queue, "count": count, "letters": found}


def _queues_of(pool: WorkerPool) -> str:
    return f"it has {first_of(pool.queues, NAMED)}"


def _unread(account: Account) -> str | None:
    doubt = account.reading
    return doubt.told if isinstance(doubt, BrokerDoubt) else None


def failure(error: Exception) -> Mapping[str, str] | None:
    """What is said of a request that cannot be answered; None for a fault of the operator."""
    if isinstance(error, BrokerDoubt):
        return {"phase": "Failed", "message": error.told}
    if isinstance(error, Refused):
        return {"phase": "Failed", "message": str(error)}
    return None
