"""The queues that are bound to an exchange: kombu's table `_kombu.binding.<exchange>`, matched without its patterns.

Anybody may write to the table, and a pattern from there could keep a regular expression busy for ever. So the keys of
topic bindings are compared word by word, at a cost of length times length; the agent in the workers does the same
(worker-image/agent/celeriac_agent/bindings.py), by the same cases.
"""

from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple

LONGEST_KEY: Final = 255
"""Characters of a routing key in AMQP, on either side; a longer one matches nothing but itself."""

MOST_BINDINGS: Final = 10_000
"""Rows of an exchange that are kept,"""
MOST_TOPICS: Final = 1000
"""and of those that have a pattern."""
MOST_KNOWN: Final = 1000
"""Routing keys whose queues are remembered."""
WORK: Final = 500_000
"""What one reading may spend on topics: words compared with words, some 50 ms."""
COMPARING: Final = 256
"""What it costs beside that to compare a key with a pattern: to see that kombu wrote it."""

STARS: Final = (r"[^\.]+", r".*?[^\.]")
"""What kombu writes for `*`: one word; earlier releases whatever does not end with a dot."""
ANYTHING: Final = r".*?"
"""What it writes for `#`: any text between two dots, none included."""


class Binding(NamedTuple):
    """One row; `pattern` is kombu's regular expression for topic exchanges, else empty."""

    routing_key: str
    pattern: str
    queue: str


def bindings_of(members: Iterable[bytes], separator: str) -> list[Binding]:
    """Read the table of an exchange; rows that kombu did not write are left out."""
    rows = (member.decode(errors="replace").split(separator) for member in members)
    return [Binding(*row) for row in rows if len(row) == 3]


class Table:
    """All bindings of an exchange, as they are asked for one routing key after another.

    `whole` is False where there are more of them than are kept, or were read.
    """

    def __init__(self, members: Collection[bytes], separator: str, *, whole: bool = True) -> None:
        self.whole = whole and len(members) <= MOST_BINDINGS
        self._direct: dict[str, set[str]] = {}
        self._topics: list[Binding] = []
        self._known: dict[str, frozenset[str]] = {}
        for binding in bindings_of(islice(members, MOST_BINDINGS), separator):
            if not binding.pattern:
                self._direct.setdefault(binding.routing_key, set()).add(binding.queue)
            elif len(self._topics) < MOST_TOPICS:
                self._topics.append(binding)
            else:
                self.whole = False

    def queues(self, routing_key: str, work: int) -> tuple[frozenset[str] | None, int]:
        """Queues of a routing key, and what is left of the work; None where that is not enough to find out."""
        known = self._known.get(routing_key)
        if known is not None:
            return known, work
        words = 1 + routing_key.count(".")
        left = work - sum(COMPARING + words * (1 + each.routing_key.count(".")) for each in self._topics)
        if left < 0:
            return None, work
        found = frozenset(self._direct.get(routing_key, ())) | queues_bound(self._topics, routing_key)
        if len(self._known) < MOST_KNOWN:
            self._known[routing_key] = found
        return found, left


def queues_bound(bindings: Iterable[Binding], routing_key: str) -> set[str]:
    """Queues that kombu would put the message into (DirectExchange.lookup and TopicExchange.lookup).

    Redis does not know an exchange's type; only topic bindings have a pattern.
    """
    return {binding.queue for binding in bindings if takes(binding, routing_key)}


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
