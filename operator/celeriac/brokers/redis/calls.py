"""Calls that are no readings: what redis-py raises becomes a BrokerDoubt."""

from collections.abc import Awaitable
from typing import Final, TypeVar

from redis.exceptions import RedisError, ResponseError

from celeriac.brokers.agents import NotAllRestored
from celeriac.brokers.redis.client import RedisClient
from celeriac.brokers.redis.errors import doubt_of, write_doubt
from celeriac.brokers.redis.rights import READING, RECOVERING, Rights

T = TypeVar("T")

COMMANDS: Final = Rights(tuple(f"{READING} {RECOVERING}".split()))
"""Of the keys only Redis's own answer tells."""


async def calling(work: Awaitable[T], client: RedisClient) -> T:
    """Do it. It shares no lock with the readings, so that none waits for a long one of it. Raises BrokerDoubt."""
    where = client.where
    try:
        return await work
    except NotAllRestored as error:
        raise NotAllRestored(await client.named(error, COMMANDS), error.restored) from error
    except (TimeoutError, RedisError, OSError) as error:
        is_answer = isinstance(error, ResponseError)
        doubt = write_doubt(error, "celeriac:*", where) if is_answer else doubt_of(error, where)
        raise await client.named(doubt, COMMANDS) from error
