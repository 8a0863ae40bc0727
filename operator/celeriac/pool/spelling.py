"""Whether two names of queues look like one name, spelled in two ways; pure.

Names that differ on purpose differ in a number (shard-1, shard-2), in a short word (mail-eu, mail-us) or in much of a
word. A slip is another case or separator, a plural, or one letter of a longer word.
"""

import re
from collections.abc import Iterator
from string import ascii_lowercase
from typing import Final

ONE_SLIP: Final = 5  # letters that a word has at least which may differ in one of them, or in two neighbours' order,
TWO_SLIPS: Final = 8  # and in two
LONGEST: Final = 100  # characters of a name that is looked at
_BREAK: Final = re.compile(r"[^0-9A-Za-z]+|(?<=[a-z0-9])(?=[A-Z])")
_LONG: Final = re.compile(r"[A-Za-z]{4,}")
_DIGITS: Final = re.compile(r"\d+")
_PLURAL: Final = re.compile(r"(?<=[a-z]{2}[a-rt-z])(?<!u)s\b")


def looks_like(one: str, other: str) -> bool:
    """Whether one of the two may be meant where the other is written."""
    if one == other or max(len(one), len(other)) > LONGEST or _DIGITS.findall(one) != _DIGITS.findall(other):
        return False
    words, others = _words(one), _words(other)
    if "".join(words) == "".join(others):
        return True
    differing = [pair for pair in zip(words, others, strict=False) if pair[0] != pair[1]]
    return len(words) == len(others) and len(differing) == 1 and _is_slip(*differing[0])


def spellings(name: str) -> set[str]:
    """Names that are looked for where nobody can list all that there are: most of what looks like this one."""
    return {other for other in _variants(name[:LONGEST]) if other} - {name}


def sounds(name: str) -> Iterator[str]:
    """Keys, of which names that look like each other share one, but for some that differ in two letters."""
    plain = "".join(_words(name[:LONGEST]))
    yield plain
    if len(plain) >= ONE_SLIP:
        yield from {plain[:at] + plain[at + 1 :] for at in range(len(plain))}


def _words(name: str) -> list[str]:
    return [_PLURAL.sub("", word.casefold()) for word in _BREAK.split(name) if word]


def _is_slip(one: str, other: str) -> bool:
    shortest = min(len(one), len(other))
    allowed = 2 if shortest >= TWO_SLIPS else 1 if shortest >= ONE_SLIP - 1 else 0
    distance = _distance(one, other)
    is_swap = len(one) == len(other) and sorted(one) == sorted(other)
    return distance <= allowed and (max(len(one), len(other)) >= ONE_SLIP or is_swap)


def _distance(one: str, other: str) -> int:
    """Letters that are added, left out, taken for others, or swapped with a neighbour (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        last, before, row = before, row, [i]
        for j, right in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (left != right))
            if i > 1 and j > 1 and left == other[j - 2] and one[i - 2] == right:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]


def _variants(name: str) -> Iterator[str]:
    parts = [part for part in _BREAK.split(name) if part]
    for separator in ("-", "_", ".", ":", ""):
        yield separator.join(parts)
        yield separator.join(parts).lower()
    yield from (name.lower(), name.upper(), name.capitalize(), f"{name}s", name.removesuffix("s"))
    for word in _LONG.finditer(name):
        for at in range(word.start(), word.end() + 1):
            yield from _slips(name[:at], name[at:], at < word.end())


def _slips(head: str, tail: str, within: bool) -> Iterator[str]:
    """One letter more, between the two parts, and what may have been done to the first of the second."""
    yield from (head + letter + tail for letter in ascii_lowercase)
    if within:
        yield head + tail[1:]
        yield from (head + letter + tail[1:] for letter in ascii_lowercase)
    if within and len(tail) > 1:
        yield head + tail[1] + tail[0] + tail[2:]
