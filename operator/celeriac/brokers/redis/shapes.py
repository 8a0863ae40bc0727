"""What replies of Redis may look like, as redis-py gives them: another server may answer anything."""

import re
from collections.abc import Callable
from typing import Any, Final

from redis.exceptions import InvalidResponse, RedisError

from celeriac.brokers.redis.parser import NO_REDIS

ODD: Final = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What Python raises where a reply is of another shape than its command has."""
MOST_COUNTED: Final = 1 << 40
"""Members of any key: more than a server has room for."""
LONGEST_INFO: Final = 64 * 1024
_COUNTS: Final = re.compile(rb"[0-9]{1,12}(?:,[0-9]{1,12})*")


def is_count(value: object) -> bool:
    """Whether it can be the number of members of a key."""
    return type(value) is int and 0 <= value < MOST_COUNTED


def is_counts(value: bytes, number: int) -> bool:
    """Whether a text is so many counts with commas between them."""
    return value.count(b",") == number - 1 and _COUNTS.fullmatch(value) is not None


def is_text(value: object) -> bool:
    """Whether it is one string of Redis."""
    return type(value) is bytes


def is_text_or_none(value: object) -> bool:
    """The same, or what is not there."""
    return value is None or type(value) is bytes


def are(check: Callable[[object], bool]) -> Callable[[object], bool]:
    """Whether it is a list, or a set, of such."""
    return lambda values: isinstance(values, list | set) and all(map(check, values))


def are_answers(reply: object, number: int, check: Callable[[object], bool]) -> bool:
    """Whether a script gave so many answers, each of them such a value or an error."""
    if not isinstance(reply, list) or len(reply) != number:
        return False
    return all(isinstance(each, RedisError) or check(each) for each in reply)


def is_pair(reply: object, first: Callable[[object], bool], second: Callable[[object], bool]) -> bool:
    """Whether a script gave two values of these kinds."""
    return isinstance(reply, list) and len(reply) == 2 and first(reply[0]) and second(reply[1])


def _is_hash(value: object) -> bool:
    return isinstance(value, dict) and all(map(is_text, value)) and all(map(is_text, value.values()))


def _is_page(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], int) and _is_hash(value[1])


def _is_time(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(is_count, value))


_SHAPES: Final[dict[str, Callable[[object], bool]]] = {
    "HLEN": is_count,
    "LLEN": is_count,
    "ZCARD": is_count,
    "HSTRLEN": is_count,
    "HGET": is_text_or_none,
    "HMGET": are(is_text_or_none),
    "HKEYS": are(is_text),
    "HRANDFIELD": are(is_text),
    "LRANGE": are(is_text),
    "SMEMBERS": are(is_text),
    "HGETALL": _is_hash,
    "HSCAN": _is_page,
    "INFO": lambda value: isinstance(value, dict),
    "TIME": _is_time,
}
"""By command; a script's reply is known to who asks."""


def require_shape(command: str, answer: Any) -> None:
    """Raise InvalidResponse for a reply that is none to its command, and no error either."""
    fits = _SHAPES.get(command)
    if fits is not None and not isinstance(answer, RedisError) and not fits(answer):
        raise InvalidResponse(NO_REDIS)


def info_of(reply: object) -> dict[str, str | int]:
    """The fields of INFO, as far as they are one word or number each. Raises InvalidResponse for what is none."""
    if not isinstance(reply, bytes) or len(reply) > LONGEST_INFO:
        raise InvalidResponse(NO_REDIS)
    fields = (line.partition(":") for line in reply.decode(errors="replace").splitlines() if not line.startswith("#"))
    return {
        name: int(value) if value.isdecimal() and len(value) < 19 else value for name, colon, value in fields if colon
    }
