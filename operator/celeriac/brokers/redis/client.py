"""A redis-py client for a RedisTarget: short timeouts, no retries of its own, TLS from texts in memory."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from celeriac.api.reasons import Reason
from celeriac.brokers.address import SentinelAccess, TlsMaterial
from celeriac.brokers.allowance import Allowance, Lane
from celeriac.brokers.dialing.dial import Dialer
from celeriac.brokers.dialing.policy import NotAllowed
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.redis.dialled import (
    CONNECT_SECONDS,
    DialledConnection,
    DialledMasterConnection,
    DialledServerConnection,
    FencedUnixConnection,
)
from celeriac.brokers.redis.errors import denied, doubt_of, says_nothing
from celeriac.brokers.redis.greeting import doubt_by_greeting, heard, needs_tls, speaks_tls
from celeriac.brokers.redis.parser import BoundedParser
from celeriac.brokers.redis.rights import Rights
from celeriac.brokers.redis.rights_check import lacks
from celeriac.brokers.redis.sentinels import Sentinels
from celeriac.brokers.redis.shapes import info_of
from celeriac.brokers.redis.tls_contexts import tls_context
from celeriac.brokers.redis.url import RedisTarget

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 2.0
SENTINEL_SECONDS: Final = 1.0
LACKING_SECONDS: Final = 5.0
ASKING_SECONDS: Final = 10.0


class RedisClient:
    """A client and all that has to be closed with it."""

    def __init__(self, target: RedisTarget, dialer: Dialer, tls: TlsMaterial | None, allowance: Allowance) -> None:
        """Prepare; nothing is connected. `proven`: the last reading was a good one.

        Raises BrokerDoubt: TlsFailed for a text that is no PEM, BrokerNotAllowed for a unix socket where those are off.
        """
        self._target = target
        self._dialer = dialer
        self.allowance = allowance
        self.proven = False
        self._lacking: tuple[Rights, float, Sequence[str]] = (Rights(), 0.0, ())
        self._context = tls_context(target, tls or TlsMaterial()) if target.tls else None
        self._sentinel: Sentinels | None = None
        self.redis = self._made()
        # redis-py's own reading of INFO takes it apart without a bound.
        self.redis.set_response_callback("INFO", info_of)  # type: ignore[arg-type]  # it takes no options

    def _made(self) -> Redis:
        target, dialer = self._target, self._dialer
        parsing = {"parser_class": partial(BoundedParser, lane=self._lane)}
        options = _options(target) | parsing
        options["may_send"] = self.allowance.may_send
        if target.path:
            _check_unix_socket(dialer, target.where)
            return Redis.from_pool(ConnectionPool(connection_class=FencedUnixConnection, path=target.path, **options))
        options |= {"dialer": dialer, "context": self._context}
        if target.sentinel_master:
            options["connection_class"] = DialledMasterConnection
            self._sentinel = Sentinels(list(target.nodes), _asking(target, dialer) | parsing, **options)
            master: Redis = self._sentinel.master_for(target.sentinel_master)
            return master
        host, port = target.nodes[0]
        options |= {"connection_class": DialledServerConnection, "host": host, "port": port}
        return Redis.from_pool(ConnectionPool(**options))

    def _lane(self) -> Lane:
        """Which others a long answer waits for."""
        return self.allowance.proven if self.proven else self.allowance.others

    @property
    def where(self) -> str:
        """The place in words, without credentials."""
        return self._target.where

    async def follow_master(self) -> None:
        """Ask Sentinel who is the master, and leave the connection to one that no longer is.

        After a failover the old master goes on as a master for some ten seconds, longer if it is cut off. Sentinels
        that do not answer are no reason to leave a master that does.
        """
        if self._sentinel is None:
            return
        with suppress(RedisError, TimeoutError):
            async with asyncio.timeout(SENTINEL_SECONDS):
                # Not in redis-py's stubs for the general pool: a Sentinel's pool has it, and disconnects by itself.
                await self.redis.connection_pool.get_master_address()  # type: ignore[attr-defined]

    async def explain(self, error: BaseException) -> BrokerDoubt:
        """The doubt for an error of a reading. What the error leaves open, a look at the address may say. Never raises.

        The look takes up to 2 * LISTENING_SECONDS.
        """
        target = self._target
        doubt = doubt_of(error, target.where)
        if target.sentinel_master or target.path or not says_nothing(error):
            return doubt
        silent = doubt.reason == Reason.BROKER_TIMEOUT
        # A plain port is silent to a handshake, and answers in the clear.
        node = target.nodes[0]
        greeting = await heard(self._dialer, *node, None if silent else self._context)
        if greeting == b"" and not target.tls and await speaks_tls(self._dialer, *node):
            return needs_tls(target.where)
        return doubt_by_greeting(greeting, target.where, tls=target.tls and silent) or doubt

    async def named(self, doubt: BrokerDoubt, rights: Rights) -> BrokerDoubt:
        """A doubt about permissions that names all that the user lacks of these rights; any other as it is.

        Never raises. What is lacked is looked up once in LACKING_SECONDS, and for ASKING_SECONDS at most.
        """
        if doubt.reason != Reason.BROKER_PERMISSION_DENIED:
            return doubt
        asked, at, found = self._lacking
        if not rights.are_in(asked) or time.monotonic() - at > LACKING_SECONDS:
            try:
                async with asyncio.timeout(ASKING_SECONDS):
                    found = await lacks(self.redis, rights)
            except (RedisError, OSError):
                return doubt
            self._lacking = rights, time.monotonic(), found
        own = [word for word in found if rights.has(word)]
        return denied(own, self._target.where) if own else doubt

    async def disconnect(self) -> None:
        """Drop the connections; the next command makes new ones (and asks DNS or Sentinel again). Never raises."""
        await _let_go(self.redis.connection_pool.disconnect())

    async def close(self) -> None:
        """Close for good. Never raises."""
        await _let_go(self.redis.aclose())
        if self._sentinel is not None:
            await _let_go(self._sentinel.aclose())


async def _let_go(closing: Awaitable[None]) -> None:
    """Close; where its end is not answered in CONNECT_SECONDS, redis-py drops a connection all the same and raises."""
    try:
        await closing
    except Exception as error:
        log.debug("closing a connection to Redis: %s", error)


def _timeouts() -> dict[str, Any]:
    return {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": ANSWER_SECONDS,
        # The caller decides when to try again: a reading that is late is worth nothing.
        "retry": Retry(NoBackoff(), 0),
        # RESP2 and no CLIENT SETINFO: an old Redis or a strict ACL refuses HELLO and CLIENT.
        "protocol": 2,
        "driver_info": None,
    }


def _check_unix_socket(dialer: Dialer, where: str) -> None:
    try:
        dialer.policy.check_unix_socket()
    except NotAllowed as error:
        raise BrokerDoubt(Reason.BROKER_NOT_ALLOWED, f"{where}: {error}") from None


def _asking(target: RedisTarget, dialer: Dialer) -> dict[str, Any]:
    """How a Sentinel itself is connected to."""
    access = target.sentinel or SentinelAccess()
    context = None if access.tls is None else tls_context(RedisTarget(), access.tls, "sentinel.tls")
    return _timeouts() | {
        "username": access.username,
        "password": access.password,
        "connection_class": DialledConnection,
        "dialer": dialer,
        "context": context,
    }


def _options(target: RedisTarget) -> dict[str, Any]:
    return _timeouts() | {"db": target.database, "username": target.username, "password": target.password}
