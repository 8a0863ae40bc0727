"""Sends queries to Redis, all together in one round trip."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, NoScriptError, ResponseError

from celeriac.brokers.redis.queries import Command, Query

SCRIPTS_AGAIN_SECONDS: Final = 60.0


class Executor:
    """Runs queries as scripts, or as plain commands for SCRIPTS_AGAIN_SECONDS after the server refused a script.

    A script is also refused where one of its keys is: plain commands then tell which.
    """

    def __init__(self, redis: Redis, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._redis = redis
        self._clock = clock
        self._plain_until = float("-inf")

    async def run(self, queries: Sequence[Query]) -> list[Any]:
        """Reply to each query: a value, or the exception that Redis answered.

        Raises redis.RedisError where the connection failed or the server as a whole refuses.
        """
        if self._clock() < self._plain_until:
            return await self._run_plain(queries)
        replies = await self._pipeline([_as_script(query) for query in queries])
        unknown = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            sent = await self._pipeline([_as_script(queries[i], with_text=True) for i in unknown])
            for i, reply in zip(unknown, sent, strict=True):
                replies[i] = reply
        if any(query.script and is_refused(reply) for query, reply in zip(queries, replies, strict=True)):
            self._plain_until = self._clock() + SCRIPTS_AGAIN_SECONDS
            return await self._run_plain(queries)
        return replies

    async def _run_plain(self, queries: Sequence[Query]) -> list[Any]:
        commands = [query.plain() for query in queries]
        replies = iter(await self._pipeline([command for some in commands for command in some]))
        return [query.join([next(replies) for _ in some]) for query, some in zip(queries, commands, strict=True)]

    async def _pipeline(self, commands: Sequence[Command]) -> list[Any]:
        if not commands:
            return []
        async with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
            return replies


def _as_script(query: Query, *, with_text: bool = False) -> Command:
    if query.script is None:
        return query.plain()[0]
    name, script = ("EVAL", query.script.text) if with_text else ("EVALSHA", query.script.sha)
    return (name, script, *query.arguments())


def is_refused(reply: Any) -> bool:
    """Tell whether the ACL refuses the command itself, or the server does not know it: a script needs one with Lua."""
    return isinstance(reply, NoPermissionError) or (
        isinstance(reply, ResponseError) and str(reply).startswith("unknown command")
    )
