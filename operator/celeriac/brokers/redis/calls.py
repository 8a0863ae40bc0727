"""Calls that are no readings: they have an end, and what redis-py raises becomes a BrokerDoubt."""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Final, TypeVar

from redis.exceptions import InvalidResponse, RedisError, ResponseError

from celeriac.brokers.agents import NotAllRestored
from celeriac.brokers.doubt import BrokerDoubt, without_trace
from celeriac.brokers.redis.client import RedisClient
from celeriac.brokers.redis.errors import doubt_of, write_doubt
from celeriac.brokers.redis.parser import NO_REDIS
from celeriac.brokers.redis.rights import EXAMINING, READING, RECOVERING, Rights
from celeriac.brokers.redis.shapes import ODD

log = logging.getLogger(__name__)

T = TypeVar("T")

COMMANDS: Final = Rights(tuple(f"{READING} {RECOVERING} {EXAMINING}".split()))
"""Of the keys only Redis's own answer tells."""


async def calling(work: Awaitable[T], client: RedisClient) -> T:
    """Do it, in Allowance.call_seconds. Raises BrokerDoubt.

    It shares no lock with the readings, so that none waits for a long one of it.
    """
    where = client.where
    try:
        async with asyncio.timeout(client.allowance.call_seconds):
            return await work
    except NotAllRestored as error:
        doubt: BrokerDoubt = NotAllRestored(await client.named(error, COMMANDS), error.restored)
    except (TimeoutError, RedisError, OSError) as error:
        is_answer = isinstance(error, ResponseError)
        known = write_doubt(error, "celeriac:*", where) if is_answer else doubt_of(error, where)
        doubt = await client.named(known, COMMANDS)
    except ODD:  # replies of another shape than any Redis gives; what they were is not in a message
        log.debug("%s: a call failed by what it answered", where, exc_info=True)
        await client.disconnect()
        doubt = doubt_of(InvalidResponse(NO_REDIS), where)
    raise without_trace(doubt)
