"""Many commands to Redis in one round trip, and scripts that take their time."""

import asyncio
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import InvalidResponse, NoScriptError, ResponseError

from celeriac.brokers.doubt import without_trace
from celeriac.brokers.redis.budget import one_answer
from celeriac.brokers.redis.parser import NO_REDIS
from celeriac.brokers.redis.queries import Script
from celeriac.brokers.redis.shapes import ODD, require_shape
from celeriac.brokers.redis.wire import Command, Packed, packed

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


async def replies(redis: Redis, commands: Collection[Command | Packed]) -> list[Any]:
    """All replies; an error of Redis stands in its place.

    Raises RedisError for a lost connection, and for a reply that is none to its command: the connection is dropped.
    """
    if not commands:
        return []
    asked = [each if isinstance(each, Packed) else packed(each) for each in commands]
    pool: Any = redis.connection_pool  # untyped
    read: Any = redis.response_callbacks
    with one_answer():
        connection = await pool.get_connection()
        try:
            await connection.send_packed_command([each.data for each in asked])
            # Whatever ends this early, redis-py drops the connection, with what may still come.
            return [await _next_reply(connection, each.name, read) for each in asked]
        except (InvalidResponse, *ODD):
            await connection.disconnect(nowait=True)
        finally:
            await pool.release(connection)
    raise InvalidResponse(NO_REDIS)


async def _next_reply(connection: Any, name: str, read: Mapping[str, Callable[[Any], Any]]) -> Any:
    """The reply to a command of this name, or Redis's error. Raises as `replies` does."""
    try:
        answer = await connection.read_response()
    except ResponseError as error:
        return without_trace(error)
    if name in read:
        answer = read[name](answer)
    require_shape(name, answer)
    return answer


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
