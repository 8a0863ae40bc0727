"""What of the agent's needs Redis refuses to its user, asked before anything is kept in keys of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.exceptions import NoPermissionError, RedisError

from .full_redis import is_full
from .settings import ProcessKeys

PROBE = "celeriac"  # a field that no message has as its tag


def refused(client: Any, keys: ProcessKeys, patterns: Mapping[str, str]) -> list[str]:
    """The commands, and the patterns of keys as `~pattern`, that an ACL refuses: all of them at once.

    `patterns` are those that a rule would name, by key. The commands are tried on the process's own keys, which hold
    nothing yet. EVAL names a key without touching it, and Redis wants to allow both reading and writing for that.
    Raises redis-py's other errors, but for that of a Redis that is full: it refuses some of them to everybody.
    """
    unacked, index, mutex = (keys.prefix + key for key in (keys.unacked, keys.index, keys.mutex))
    commands: list[tuple[Any, ...]] = [
        ("HSET", unacked, PROBE, ""),
        *((name, unacked, PROBE) for name in ("HGET", "HMGET", "HSTRLEN", "HEXISTS", "HDEL")),
        *((name, unacked) for name in ("HLEN", "HKEYS", "HGETALL")),
        ("ZADD", index, "XX", 0, PROBE),
        ("ZRANGE", index, 0, -1),
        ("ZREM", index, PROBE),
        ("LPUSH", mutex, PROBE),
        ("RPUSH", mutex, PROBE),
        ("DEL", mutex),
    ]
    commands += [("EVAL", "return 0", 1, key) for key in patterns]
    with client.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)
        answers = pipe.execute(raise_on_error=False)
    found: dict[str, None] = {}  # in this order, each once
    for command, answer in zip(commands, answers):
        if isinstance(answer, NoPermissionError):
            key = command[3] if command[0] == "EVAL" else command[1]
            found[f"~{patterns[key]}" if "to access" in str(answer) else command[0]] = None
        elif isinstance(answer, RedisError) and not is_full(answer):
            raise answer
    return list(found)
