"""Sends queries to Redis, all together in one round trip."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import InvalidResponse, NoPermissionError, NoScriptError, ResponseError

from celeriac.brokers.redis.parser import NO_REDIS
from celeriac.brokers.redis.queries import Large, Query
from celeriac.brokers.redis.round_trip import replies
from celeriac.brokers.redis.wire import Command

SCRIPTS_AGAIN_SECONDS: Final = 60.0
PLAIN_BYTES: Final = 4 * 1024 * 1024
"""Of messages that are read whole in one reading."""


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
        answers = await replies(self._redis, [query.packed for query in queries])
        unknown = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            sent = await replies(self._redis, [_with_text(queries[i]) for i in unknown])
            for i, answer in zip(unknown, sent, strict=True):
                answers[i] = answer
        if any(query.script and is_refused(answer) for query, answer in zip(queries, answers, strict=True)):
            self._plain_until = self._clock() + SCRIPTS_AGAIN_SECONDS
            return await self._run_plain(queries)
        return [_fitting(query, answer) for query, answer in zip(queries, answers, strict=True)]

    async def _run_plain(self, queries: Sequence[Query]) -> list[Any]:
        """What is large is asked for in a second round trip, once its size is known: PLAIN_BYTES of it in all."""
        first = await self._ask(query.plain() for query in queries)
        left, then = PLAIN_BYTES, []
        for query, answers in zip(queries, first, strict=True):
            commands, size = query.then(answers, left) if isinstance(query, Large) else ((), 0)
            then.append(commands)
            left -= size
        more = await self._ask(then)
        joined = [
            query.join(answers, rest) if isinstance(query, Large) else query.join(answers)
            for query, answers, rest in zip(queries, first, more, strict=True)
        ]
        return [_fitting(query, answer) for query, answer in zip(queries, joined, strict=True)]

    async def _ask(self, commands: Iterable[Sequence[Command]]) -> list[list[Any]]:
        """The answers to the commands of each query."""
        of_each = list(commands)
        answers = iter(await replies(self._redis, [command for some in of_each for command in some]))
        return [[next(answers) for _ in some] for some in of_each]


def _fitting(query: Query, answer: Any) -> Any:
    """The answer. Raises InvalidResponse where it is none to the query."""
    if isinstance(answer, Exception) or query.fits(answer):
        return answer
    raise InvalidResponse(NO_REDIS)


def _with_text(query: Query) -> Command:
    """For a server that does not know the script yet."""
    return query.plain()[0] if query.script is None else ("EVAL", query.script.text, *query.arguments())


def is_refused(reply: Any) -> bool:
    """Tell whether the ACL refuses the command itself, or the server does not know it: a script needs one with Lua."""
    return isinstance(reply, NoPermissionError) or (
        isinstance(reply, ResponseError) and str(reply).startswith("unknown command")
    )
