"""Moving one message from where it is to where it belongs, atomically: whoever comes second finds nothing to move."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import NoPermissionError, NoScriptError, RedisError, ResponseError, WatchError

from celeriac.brokers.redis.queries import Command, Script

BATCH: Final = 500

# KEYS: unacked hash, its index, the target list if there is one. ARGV: tag, entry as it was read, push command, message
_FROM_HASH: Final = Script("""
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
if KEYS[3] then redis.call(ARGV[3], KEYS[3], ARGV[4]) end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
""")

# KEYS: list, target list. ARGV: message as it was read, message as it goes
_FROM_LIST: Final = Script("""
if redis.call('LREM', KEYS[1], -1, ARGV[1]) == 0 then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[2])
return 1
""")


@dataclass(frozen=True, slots=True)
class FromUnacked:
    """A message out of an unacked hash; `push` is RPUSH (consumed next) or LPUSH. Without a target it is dropped."""

    unacked: str
    index: str
    tag: bytes
    entry: bytes
    target: str | None = None
    message: bytes = b""
    push: str = "RPUSH"
    script: Script = _FROM_HASH

    def arguments(self) -> Command:
        """Keys and arguments of the script."""
        keys = (self.unacked, self.index) if self.target is None else (self.unacked, self.index, self.target)
        return (len(keys), *keys, self.tag, self.entry, self.push, self.message)

    async def in_transaction(self, pipe: "Pipeline") -> bool:
        """The same under WATCH: queue the commands, or find nothing to move."""
        await pipe.watch(self.unacked)
        if await pipe.execute_command("HGET", self.unacked, self.tag) != self.entry:
            return False
        if self.target is not None:
            await _require_list(pipe, self.target)
        _begin(pipe)
        if self.target is not None:
            pipe.execute_command(self.push, self.target, self.message)
        pipe.execute_command("HDEL", self.unacked, self.tag)
        pipe.execute_command("ZREM", self.index, self.tag)
        return True


@dataclass(frozen=True, slots=True)
class FromList:
    """A message out of a list, to the producers' end of another."""

    source: str
    entry: bytes
    target: str
    message: bytes
    script: Script = _FROM_LIST

    def arguments(self) -> Command:
        """Keys and arguments of the script."""
        return (2, self.source, self.target, self.entry, self.message)

    async def in_transaction(self, pipe: "Pipeline") -> bool:
        """The same under WATCH: queue the commands, or find nothing to move."""
        await pipe.watch(self.source)
        if self.entry not in await pipe.execute_command("LRANGE", self.source, -BATCH, -1):
            return False
        await _require_list(pipe, self.target)
        _begin(pipe)
        pipe.execute_command("LREM", self.source, -1, self.entry)
        pipe.execute_command("LPUSH", self.target, self.message)
        return True


Move = FromUnacked | FromList


async def move(redis: Redis, moves: Sequence[Move]) -> list[bool | Exception]:
    """Make the moves in their order: whether each found its message, or what Redis answered to it.

    A user who may run no scripts moves them one at a time under WATCH. Raises RedisError where the connection failed.
    """
    replies = await _pipeline(redis, [("EVALSHA", each.script.sha, *each.arguments()) for each in moves])
    unknown = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
    texts = [("EVAL", moves[i].script.text, *moves[i].arguments()) for i in unknown]
    for i, reply in zip(unknown, await _pipeline(redis, texts), strict=True):
        replies[i] = reply
    if any(_refuses_scripts(reply) for reply in replies):
        replies = [await _alone(redis, each) for each in moves]
    return [reply if isinstance(reply, Exception) else bool(reply) for reply in replies]


async def when(redis: Redis, watched: str, holds: Callable[[Pipeline], Awaitable[bool]], *commands: Command) -> bool:
    """Run the commands as one transaction if `holds` does, and still does at that moment; tell whether they ran."""
    async with redis.pipeline(transaction=True) as pipe:
        await pipe.watch(watched)
        if not await holds(pipe):
            return False
        _begin(pipe)
        for command in commands:
            pipe.execute_command(*command)
        try:
            await pipe.execute()
        except WatchError:
            return False
    return True


async def ask_one(redis: Redis, *command: str | bytes | int) -> Any:
    """The reply to one command."""
    (reply,) = await ask(redis, [command])
    return reply


def _begin(pipe: Pipeline) -> None:
    pipe.multi()  # type: ignore[no-untyped-call]


async def _require_list(pipe: Pipeline, key: str) -> None:
    """Raise Redis's own error for a key of another type: a transaction would go on after it and lose the message."""
    if await pipe.execute_command("TYPE", key) not in (b"none", b"list"):
        raise ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")


async def ask(redis: Redis, commands: Collection[Command]) -> list[Any]:
    """All replies in one round trip. Raises the first error."""
    replies = await _pipeline(redis, commands)
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


async def _alone(redis: Redis, each: Move) -> bool | Exception:
    async with redis.pipeline(transaction=True) as pipe:
        try:
            if not await each.in_transaction(pipe):
                return False
            await pipe.execute()
        except WatchError:
            return False
        except ResponseError as error:
            return error
    return True


async def _pipeline(redis: Redis, commands: Collection[Command]) -> list[Any]:
    if not commands:
        return []
    async with redis.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)
        replies: list[Any] = await pipe.execute(raise_on_error=False)
        return replies


def _refuses_scripts(reply: Any) -> bool:
    """Tell whether the ACL, or a server without Lua, refuses the script itself."""
    return isinstance(reply, NoPermissionError) or (
        isinstance(reply, RedisError) and str(reply).startswith("unknown command")
    )
