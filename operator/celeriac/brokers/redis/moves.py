"""Moving one message from where it is to where it belongs, atomically: whoever comes second finds nothing to move."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import NoScriptError, ResponseError, WatchError

from celeriac.brokers.redis.queries import Command, Script
from celeriac.brokers.redis.round_trip import replies

BATCH: Final = 500

# Five arguments for each move: tag, entry as it was read, push command, number of the target key (0: none), message.
# For each: 1, 0 where it found nothing to move, or the error that the target answered.
_EACH: Final = """
local made = {}
for i = 1, #ARGV, 5 do
  local done = 0
  if found(ARGV[i], ARGV[i + 1]) then
    done = 1
    local target = tonumber(ARGV[i + 3])
    if target > 0 then
      local pushed = redis.pcall(ARGV[i + 2], KEYS[target], ARGV[i + 4])
      if type(pushed) == 'table' then done = pushed end
    end
    if done == 1 then remove(ARGV[i], ARGV[i + 1]) end
  end
  made[#made + 1] = done
end
return made
"""

# It begins with a write that changes nothing: a Redis that is full lets a script go on that has written.
_FROM_UNACKED: Final = Script(f"""
redis.call('HDEL', KEYS[1], 'celeriac')
local function found(tag, entry) return redis.call('HGET', KEYS[1], tag) == entry end
local function remove(tag)
  redis.call('HDEL', KEYS[1], tag)
  redis.call('ZREM', KEYS[2], tag)
end
{_EACH}""")

_FROM_LIST: Final = Script(f"""
local function found(_, entry) return redis.call('LPOS', KEYS[1], entry, 'RANK', -1) end
local function remove(_, entry) redis.call('LREM', KEYS[1], -1, entry) end
{_EACH}""")


@dataclass(frozen=True, slots=True)
class Move:
    """One message: what it is in its source, and what is pushed to where. Without a target it is dropped.

    `push` is RPUSH (consumed next) or LPUSH (the producers' end).
    """

    tag: bytes
    entry: bytes
    target: str | None = None
    message: bytes = b""
    push: str = "RPUSH"


class Source(Protocol):
    """Where messages are moved from."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Its keys; the first one changes with every move."""

    @property
    def script(self) -> Script:
        """Makes many moves."""

    async def has(self, pipe: Pipeline, move: Move) -> bool:
        """Whether the message is still what was read."""

    def removal(self, move: Move) -> Sequence[Command]:
        """The commands that take it away."""


@dataclass(frozen=True, slots=True)
class Unacked:
    """An unacked hash and its index."""

    unacked: str
    index: str
    script: Script = _FROM_UNACKED

    @property
    def keys(self) -> tuple[str, ...]:
        """Both."""
        return (self.unacked, self.index)

    async def has(self, pipe: Pipeline, move: Move) -> bool:
        """Compare the entry."""
        return bool(await pipe.execute_command("HGET", self.unacked, move.tag) == move.entry)

    def removal(self, move: Move) -> Sequence[Command]:
        """Out of both."""
        return ("HDEL", self.unacked, move.tag), ("ZREM", self.index, move.tag)


@dataclass(frozen=True, slots=True)
class MessageList:
    """A list of messages; the oldest are at its right."""

    key: str
    script: Script = _FROM_LIST

    @property
    def keys(self) -> tuple[str, ...]:
        """The list."""
        return (self.key,)

    async def has(self, pipe: Pipeline, move: Move) -> bool:
        """Look for it from the right."""
        return await pipe.execute_command("LPOS", self.key, move.entry, "RANK", -1) is not None

    def removal(self, move: Move) -> Sequence[Command]:
        """Out of the list."""
        return (("LREM", self.key, -1, move.entry),)


async def move(redis: Redis, source: Source, moves: Sequence[Move]) -> list[bool | Exception]:
    """Make the moves in their order: whether each found its message, or what Redis answered to it.

    A user who may run no scripts moves them one at a time under WATCH. Raises RedisError where the connection failed.
    """
    if not moves:
        return []
    arguments = _arguments(source, moves)
    (reply,) = await replies(redis, [("EVALSHA", source.script.sha, *arguments)])
    if isinstance(reply, NoScriptError):
        (reply,) = await replies(redis, [("EVAL", source.script.text, *arguments)])
    if isinstance(reply, ResponseError):
        # It says nothing of a single message, and may be about scripts alone.
        return [await _alone(redis, source, each) for each in moves]
    return [each if isinstance(each, Exception) else bool(each) for each in reply]


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
    answers = await replies(redis, commands)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def _arguments(source: Source, moves: Sequence[Move]) -> Command:
    """Number of keys, keys, and five arguments for each move."""
    keys = (*source.keys, *dict.fromkeys(each.target for each in moves if each.target is not None))
    number = {key: place for place, key in enumerate(keys, 1)}
    arguments: list[str | bytes | int] = [len(keys), *keys]
    for each in moves:
        target = 0 if each.target is None else number[each.target]
        arguments += (each.tag, each.entry, each.push, target, each.message)
    return tuple(arguments)


async def _alone(redis: Redis, source: Source, each: Move) -> bool | Exception:
    async with redis.pipeline(transaction=True) as pipe:
        try:
            await pipe.watch(source.keys[0])
            if not await source.has(pipe, each):
                return False
            if each.target is not None:
                await _require_list(pipe, each.target)
            _begin(pipe)
            if each.target is not None:
                pipe.execute_command(each.push, each.target, each.message)
            for command in source.removal(each):
                pipe.execute_command(*command)
            await pipe.execute()
        except WatchError:
            return False
        except ResponseError as error:
            return error
    return True
