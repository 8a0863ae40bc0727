"""Which messages a binding takes, as kombu's exchanges decide it, without its regular expressions.

Anybody may write to the table of bindings in Redis, and a pattern from there could keep a worker busy for ever. The
operator does the same (celeriac/brokers/redis/bindings.py), by the same cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

LONGEST_KEY = 255  # characters of a routing key in AMQP, on either side; a longer one matches nothing but itself
STARS = (r"[^\.]+", r".*?[^\.]")  # what kombu writes for `*`: one word; earlier what does not end with a dot
ANYTHING = r".*?"  # what it writes for `#`: any text between two dots, none included


class Binding(NamedTuple):
    """A queue bound to an exchange; `pattern` is a regular expression for topic exchanges, else empty."""

    routing_key: str
    pattern: str
    queue: str


def takes(binding: Binding, routing_key: str) -> bool:
    """Whether a message with this key goes into the binding's queue.

    A pattern that kombu never wrote for its key matches nothing. A word with a wildcard in it is an ordinary word, as
    in AMQP; kombu would take it for a part of its expression.
    """
    if not binding.pattern:
        return binding.routing_key == routing_key
    if max(len(binding.routing_key), len(routing_key)) > LONGEST_KEY or "\n" in routing_key:
        return False
    for star in STARS:
        if binding.pattern == _pattern(binding.routing_key, star):
            return _matches(binding.routing_key.split("."), routing_key.split("."), star_spans=star != STARS[0])
    return False


def _matches(wanted: Sequence[str], words: Sequence[str], *, star_spans: bool) -> bool:
    """Follow all numbers of words that the beginning of `wanted` may stand for."""
    ends = {0}
    for want in wanted:
        if want == "#":
            ends = set(range(min(ends) + 1, len(words) + 1))
        elif want == "*" and star_spans:
            ends = {end for end in range(min(ends) + 1, len(words) + 1) if words[end - 1]}
        elif want == "*":
            ends = {end + 1 for end in ends if end < len(words) and words[end]}
        else:
            ends = {end + 1 for end in ends if end < len(words) and words[end] == want}
        if not ends:
            return False
    return len(words) in ends


def _pattern(routing_key: str, star: str) -> str:
    """The expression that kombu writes for a key (TopicExchange.key_to_pattern)."""
    words = "".join(map(_escaped, routing_key)).split(".")
    wildcards = {"*": star, "#": ANYTHING}
    return "^" + r"\.".join(wildcards.get(word, word) for word in words) + "$"


def _escaped(character: str) -> str:
    if character.isalnum() or character in ".#*":
        return character
    return "\\000" if character == "\0" else "\\" + character
