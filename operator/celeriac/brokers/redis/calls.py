"""Calls that are no readings: what redis-py raises becomes a BrokerDoubt."""

from collections.abc import Awaitable
from typing import TypeVar

from redis.exceptions import RedisError, ResponseError

from celeriac.brokers.redis.errors import doubt_of, write_doubt

T = TypeVar("T")


async def calling(work: Awaitable[T], where: str) -> T:
    """Do it. It shares no lock with the readings, so that none waits for a long one of it. Raises BrokerDoubt."""
    try:
        return await work
    except (TimeoutError, RedisError, OSError) as error:
        if isinstance(error, ResponseError):
            raise write_doubt(error, "celeriac:*", where) from error
        raise doubt_of(error, where) from error
