"""Many commands to Redis in one round trip."""

from collections.abc import Collection
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import InvalidResponse

from celeriac.brokers.redis.budget import one_answer
from celeriac.brokers.redis.parser import NO_REDIS
from celeriac.brokers.redis.queries import Command
from celeriac.brokers.redis.shapes import ODD, require_shape


async def replies(redis: Redis, commands: Collection[Command]) -> list[Any]:
    """All replies; an error of Redis stands in its place.

    Raises RedisError for a lost connection, and for a reply that is none to its command: the connection is dropped.
    """
    if not commands:
        return []
    with one_answer():
        async with redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            try:
                answers: list[Any] = await pipe.execute(raise_on_error=False)
                for command, answer in zip(commands, answers, strict=True):
                    require_shape(str(command[0]), answer)
            except (InvalidResponse, *ODD):
                if pipe.connection is not None:
                    await pipe.connection.disconnect(nowait=True)
                raise InvalidResponse(NO_REDIS) from None
            return answers
