"""What the ACL user of a broker has to be allowed, command by command and key by key.

The operator and the workers of a pool take one URL, so one user. The operator's commands are those of this folder; the
workers' those of the agent, and of kombu 5.3 to 5.7 with events, remote control, mingle and gossip (as MONITOR showed).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from celeriac.pool.model import QueueLayout

READING: Final = (
    "select ping info time eval evalsha llen lrange hlen hkeys hget hmget hgetall hrandfield hscan hstrlen smembers"
)
"""What the operator needs to see queues and reports."""
RECOVERING: Final = (
    "hset hdel del zadd zcard zrem zrangebyscore zrevrangebyscore rpush lpush watch unwatch multi exec discard type"
    " scan lpos lrem"
)
"""What it needs besides to drain workers, to put back what they held, and to handle dead letters."""
EXAMINING: Final = "sscan pttl"
"""What it needs besides for `kubectl celery doctor` alone: to find what Celery's own tools have left behind."""
CONSUMING: Final = (
    "select ping info client|setname eval evalsha brpop rpop lpush rpush llen del exists pexpire hset hget hdel sadd"
    " smembers srem zadd zrem zrange zrangebyscore zrevrangebyscore set get time watch unwatch multi exec discard"
    " script|load script|exists publish subscribe unsubscribe psubscribe punsubscribe"
)
"""What a plain worker needs."""
REPORTING: Final = "hexists hgetall hkeys hlen hmget hstrlen scan"
"""What the agent in it needs besides."""
RESULTS: Final = "set setex get mget del expire incr rpush lrange llen zadd zrange publish subscribe unsubscribe"
"""What a worker needs that keeps its results in the same Redis."""
COMMANDS: Final = frozenset(
    name
    for words in (
        READING,
        RECOVERING,
        EXAMINING,
        CONSUMING,
        REPORTING,
        RESULTS,
        "auth client script sentinel sentinel|masters",
    )
    for name in words.split()
)
"""All that anybody here asks of a Redis: no other name of a command is repeated from an answer."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys by a prefix of their names, or by what stands in their middle; `sample` is one of them."""

    pattern: str
    sample: str

    @classmethod
    def beginning(cls, text: str) -> "Keys":
        """All that begin so."""
        return cls(f"{_literal(text)}*", text)


@dataclass(frozen=True, slots=True)
class Rights:
    """Commands in Redis's own names (script|load), and keys. `channels`: publish and subscribe."""

    commands: tuple[str, ...] = ()
    keys: tuple[Keys, ...] = ()
    channels: bool = False

    def __or__(self, other: "Rights") -> "Rights":
        return Rights(
            tuple(dict.fromkeys((*self.commands, *other.commands))),
            tuple(dict.fromkeys((*self.keys, *other.keys))),
            self.channels or other.channels,
        )

    def has(self, word: str) -> bool:
        """Whether a word of an ACL (+command, ~keys, &channels) is about these rights."""
        return word.startswith("&") or word in self._words

    def are_in(self, other: "Rights") -> bool:
        """Whether the other ones hold all of these."""
        return self._words <= other._words

    @property
    def _words(self) -> frozenset[str]:
        return frozenset((*(f"+{name}" for name in self.commands), *(f"~{keys.pattern}" for keys in self.keys)))

    def rule(self) -> str:
        """As an ACL has it (redis.conf, ACL SETUSER): nothing else is allowed."""
        words = [f"~{keys.pattern}" for keys in self.keys]
        words += ["&*"] if self.channels else []
        words += ["-@all", *(f"+{command}" for command in sorted(self.commands))]
        return " ".join(["resetkeys", "resetchannels", *words])


@dataclass(frozen=True, slots=True)
class Part:
    """One pool on the broker: how its queues are laid out, which they are, whether its workers have the agent."""

    layout: QueueLayout
    queues: tuple[str, ...]
    agent: bool


def operator_rights(parts: Iterable[Part]) -> Rights:
    """What the operator needs for these pools."""
    rights = Rights()
    for part in parts:
        prefix = part.layout.key_prefix
        names = (*part.queues, "unacked", "_kombu.binding.", "celeryev", *(("celeriac:",) if part.agent else ()))
        commands = f"{READING} {EXAMINING} {RECOVERING if part.agent else 'scan'}".split()
        rights |= Rights(tuple(commands), (*(Keys.beginning(f"{prefix}{name}") for name in names), _mailboxes(prefix)))
    return rights


def worker_rights(parts: Iterable[Part], *, results: bool = False) -> Rights:
    """What the workers of these pools need; `results`: they keep results there, under Celery's own names."""
    rights = Rights()
    for part in parts:
        prefix = part.layout.key_prefix
        names = (*part.queues, "unacked", "_kombu.binding", "celeryev", *(("celeriac:",) if part.agent else ()))
        commands = f"{CONSUMING} {REPORTING if part.agent else ''}".split()
        keys = (*(Keys.beginning(f"{prefix}{name}") for name in names), _mailboxes(prefix))
        rights |= Rights(tuple(commands), keys, channels=True)
    if results:
        rights |= Rights(tuple(RESULTS.split()), (Keys.beginning("celery-task"),), channels=True)
    return rights


def _mailboxes(prefix: str) -> Keys:
    """Of remote control: each worker's own, and the answers. Before `pidbox` stands the app's control_exchange."""
    return Keys(f"{_literal(prefix)}*.pidbox*", f"{prefix}celery@host.celery.pidbox")


def _literal(text: str) -> str:
    """The text in a pattern of Redis: its wildcards mean themselves (util.c, stringmatchlen)."""
    return re.sub(r"([*?\[\]\\^])", r"\\\1", text)
