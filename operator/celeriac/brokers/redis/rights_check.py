"""What a user lacks of some rights: Redis is asked for everything at once, and nothing is changed.

What writes is queued behind MULTI and discarded: Redis judges a command by the ACL when it is queued. Where MULTI is
refused itself, what writes cannot be tried. Redis counts the arguments before it asks the ACL, so each form has enough.
"""

from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from celeriac.brokers.redis.errors import is_refused
from celeriac.brokers.redis.rights import Keys, Rights
from celeriac.brokers.redis.wire import Command

PROBE: Final = "celeriac"
SHA: Final = "0" * 40

# By command; {key} is a key that the user may use. What stands here changes nothing, and needs no MULTI.
AT_ONCE: Final[dict[str, Command]] = {
    "select": ("SELECT", "{db}"),
    "ping": ("PING",),
    "info": ("INFO", "replication"),
    "time": ("TIME",),
    "eval": ("EVAL", "return 1", 0),
    "evalsha": ("EVALSHA", SHA, 0),
    "script|load": ("SCRIPT", "LOAD", "return 1"),
    "script|exists": ("SCRIPT", "EXISTS", SHA),
    "client|setname": ("CLIENT", "SETNAME", PROBE),
    "watch": ("WATCH", "{key}"),
    "unwatch": ("UNWATCH",),
    "exec": ("EXEC",),
    "discard": ("DISCARD",),
    "unsubscribe": ("UNSUBSCRIBE",),
    "punsubscribe": ("PUNSUBSCRIBE",),
}
QUEUED: Final[dict[str, Command]] = {
    "llen": ("LLEN", "{key}"),
    "lrange": ("LRANGE", "{key}", 0, 0),
    "hlen": ("HLEN", "{key}"),
    "hkeys": ("HKEYS", "{key}"),
    "hget": ("HGET", "{key}", PROBE),
    "hmget": ("HMGET", "{key}", PROBE),
    "hgetall": ("HGETALL", "{key}"),
    "hexists": ("HEXISTS", "{key}", PROBE),
    "hrandfield": ("HRANDFIELD", "{key}", 1),
    "hscan": ("HSCAN", "{key}", 0),
    "hstrlen": ("HSTRLEN", "{key}", PROBE),
    "smembers": ("SMEMBERS", "{key}"),
    "sscan": ("SSCAN", "{key}", 0),
    "pttl": ("PTTL", "{key}"),
    "hset": ("HSET", "{key}", PROBE, PROBE),
    "hdel": ("HDEL", "{key}", PROBE),
    "del": ("DEL", "{key}"),
    "exists": ("EXISTS", "{key}"),
    "expire": ("EXPIRE", "{key}", 1000),
    "pexpire": ("PEXPIRE", "{key}", 1000),
    "type": ("TYPE", "{key}"),
    "scan": ("SCAN", 0, "COUNT", 1),
    "zadd": ("ZADD", "{key}", 1, PROBE),
    "zcard": ("ZCARD", "{key}"),
    "zrem": ("ZREM", "{key}", PROBE),
    "zrange": ("ZRANGE", "{key}", 0, 0),
    "zrangebyscore": ("ZRANGEBYSCORE", "{key}", 0, 0),
    "zrevrangebyscore": ("ZREVRANGEBYSCORE", "{key}", 0, 0),
    "rpush": ("RPUSH", "{key}", PROBE),
    "lpush": ("LPUSH", "{key}", PROBE),
    "lpos": ("LPOS", "{key}", PROBE),
    "lrem": ("LREM", "{key}", 1, PROBE),
    "rpop": ("RPOP", "{key}"),
    "brpop": ("BRPOP", "{key}", 1),
    "sadd": ("SADD", "{key}", PROBE),
    "srem": ("SREM", "{key}", PROBE),
    "set": ("SET", "{key}", PROBE),
    "setex": ("SETEX", "{key}", 1000, PROBE),
    "get": ("GET", "{key}"),
    "mget": ("MGET", "{key}"),
    "incr": ("INCR", "{key}"),
    "publish": ("PUBLISH", PROBE, PROBE),
    "subscribe": ("SUBSCRIBE", PROBE),
    "psubscribe": ("PSUBSCRIBE", PROBE),
}
_READS: Final = ("llen", "hlen", "zcard", "type", "get")
_WRITES: Final = ("rpush", "lpush", "hset", "sadd", "set")


async def lacks(redis: Redis, rights: Rights) -> tuple[str, ...]:
    """What the user of this client lacks, in the words of an ACL: +command, ~keys, &channels.

    Raises RedisError where the connection fails or the server refuses for another reason.
    """
    pool: Any = redis.connection_pool  # untyped
    connection = await pool.get_connection()
    try:
        return await _Check(connection, rights).run()
    finally:
        await connection.disconnect()  # a transaction that could not be discarded ends here
        await pool.release(connection)


class _Check:
    """One look at one connection."""

    def __init__(self, connection: Any, rights: Rights) -> None:
        self._connection = connection
        self._rights = rights
        self._lacks: dict[str, None] = {}

    async def run(self) -> tuple[str, ...]:
        wanted = self._rights.commands
        await self._try([(name, AT_ONCE[name]) for name in wanted if name in AT_ONCE])
        if await self._begins():
            await self._try([(name, QUEUED[name]) for name in wanted if name in QUEUED])
            await self._try_keys()
        elif "multi" in wanted:
            self._lacks["+multi"] = None
        return tuple(self._lacks)

    async def _begins(self) -> bool:
        return not _is_denied((await self._ask([("MULTI",)]))[0])

    async def _try(self, forms: Sequence[tuple[str, Command]]) -> None:
        """Commands on a key that is allowed, if any is: the command is judged before the key."""
        sample = self._rights.keys[0].sample if self._rights.keys else PROBE
        answers = await self._ask([self._filled(form, sample) for _, form in forms])
        for (name, _), answer in zip(forms, answers, strict=True):
            if not _is_denied(answer):
                continue
            if "access" not in str(answer):
                self._lacks[f"+{name}"] = None
            elif "channel" in str(answer):
                self._lacks["&*"] = None

    async def _try_keys(self) -> None:
        """Each key by a command that reads and by one that writes, of those that are allowed."""
        for commands in (_READS, _WRITES):
            allowed = [name for name in commands if name in self._rights.commands and f"+{name}" not in self._lacks]
            if allowed:
                await self._try_each_key(QUEUED[allowed[0]], self._rights.keys)

    async def _try_each_key(self, form: Command, keys: Sequence[Keys]) -> None:
        answers = await self._ask([self._filled(form, each.sample) for each in keys])
        for each, answer in zip(keys, answers, strict=True):
            if _is_denied(answer):
                self._lacks[f"~{each.pattern}"] = None

    def _filled(self, form: Command, key: str) -> Command:
        replacements = {"{key}": key, "{db}": self._connection.db}
        return tuple(replacements.get(word, word) if isinstance(word, str) else word for word in form)

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        if not commands:
            return []
        await self._connection.send_packed_command(self._connection.pack_commands(commands))
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(await self._connection.read_response())
            except ResponseError as error:
                answers.append(error)
        return answers


def _is_denied(answer: Any) -> bool:
    """Whether the ACL refuses it; of EXEC another error tells so."""
    return isinstance(answer, ResponseError) and is_refused(answer)
