"""Many commands to Redis in one round trip, and scripts that take their time."""

import asyncio
import math
from collections.abc import Collection
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import InvalidResponse, NoScriptError, ResponseError

from celeriac.brokers.doubt import without_trace
from celeriac.brokers.redis.budget import one_answer
from celeriac.brokers.redis.parser import NO_REDIS
from celeriac.brokers.redis.queries import Command, Script
from celeriac.brokers.redis.shapes import ODD, require_shape

SECONDS: Final = 2.0
BYTES_PER_SECOND: Final = 4 * 1024 * 1024
"""A script that copies 60 MiB takes 0.5 s where Redis has a core of its own, and four times that where it has none."""


async def ask_one(redis: Redis, *command: str | bytes | int) -> Any:
    """The reply to one command."""
    (reply,) = await ask(redis, [command])
    return reply


async def ask(redis: Redis, commands: Collection[Command]) -> list[Any]:
    """All replies. Raises the first error."""
    answers = await replies(redis, commands)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


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
                    if isinstance(answer, Exception):
                        without_trace(answer)
            except (InvalidResponse, *ODD):
                if pipe.connection is not None:
                    await pipe.connection.disconnect(nowait=True)
            else:
                return answers
    raise InvalidResponse(NO_REDIS)


async def run_script(redis: Redis, script: Script, arguments: Command, size: int) -> Any:
    """Run a script that copies so many bytes, and wait for it as long as that may take: its reply, or Redis's error.

    Raises TimeoutError, or RedisError for a lost connection and for what is no reply: the connection is dropped.
    """
    seconds = SECONDS + size / BYTES_PER_SECOND
    reply = await _reply(redis, ("EVALSHA", script.sha, *arguments), seconds)
    if isinstance(reply, NoScriptError):
        reply = await _reply(redis, ("EVAL", script.text, *arguments), seconds)
    return reply


async def _reply(redis: Redis, command: Command, seconds: float) -> Any:
    pool: Any = redis.connection_pool  # untyped
    connection = await pool.get_connection()
    try:
        await connection.send_packed_command(connection.pack_command(*command))
        async with asyncio.timeout(seconds):  # redis-py drops the connection when it is cancelled
            return await connection.read_response(timeout=math.inf)
    except ResponseError as error:
        return error
    finally:
        await pool.release(connection)
