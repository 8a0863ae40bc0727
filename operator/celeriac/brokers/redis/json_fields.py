"""Strict reading of small JSON objects. Anybody may write to Redis: a value of a wrong type is never let in."""

import json
import math
from typing import Any

from celeriac.api.words import is_whole

LONGEST_TEXT = 65_536
"""Characters of an object that is read at all; a report has some 700."""
MOST = 2**53 - 1
"""What JSON's readers agree on; what is summed and divided from here on is finite."""
MOST_SECONDS = 1e12
"""Thirty thousand years: a time, or slots x seconds in use."""


class WrongField(ValueError):
    """The object is not what its name says; the message names the field, or what else is wrong."""


class JsonFields:
    """The fields of one JSON object; every method raises WrongField for one that is missing or of another type."""

    def __init__(self, text: bytes) -> None:
        """Raises WrongField for a text that is no JSON object."""
        if len(text) > LONGEST_TEXT:
            raise WrongField("too long")
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise WrongField("no JSON") from error
        if not isinstance(values, dict):
            raise WrongField("no JSON object")
        self._values = values

    def text(self, name: str) -> str:
        """A string of whole characters: JSON may hold halves of one, and no key of Redis could be written with them."""
        value = self._values.get(name)
        if not isinstance(value, str) or not is_whole(value):
            raise WrongField(f"field {name}")
        return value

    def text_or_none(self, name: str) -> str | None:
        """A string or null."""
        return None if self._is_null(name) else self.text(name)

    def count(self, name: str, most: int = MOST) -> int:
        """A whole number from 0 to `most`."""
        value = self._values.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise WrongField(f"field {name}")
        return value

    def count_or(self, name: str, default: int, most: int = MOST) -> int:
        """The same, or the default where there is no such field: earlier releases knew fewer."""
        return self.count(name, most) if name in self._values else default

    def number(self, name: str) -> float:
        """A number from 0 to MOST_SECONDS."""
        value = self._values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise WrongField(f"field {name}")
        if not 0 <= value <= MOST_SECONDS:
            raise WrongField(f"field {name}")
        return float(value)

    def number_or_infinity(self, name: str) -> float:
        """A number from 0; null, Infinity, which Python's json writes, and what is as good as that: without end."""
        value = None if self._is_null(name) else self._values[name]
        if value is None or (type(value) in (int, float) and value > MOST_SECONDS):
            return math.inf
        return self.number(name)

    def flag_or_none(self, name: str) -> bool | None:
        """True, false or null."""
        value = None if self._is_null(name) else self._values.get(name)
        if value is not None and not isinstance(value, bool):
            raise WrongField(f"field {name}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        texts = self._list(name, str)
        if not all(map(is_whole, texts)):
            raise WrongField(f"field {name}")
        return tuple(texts)

    def counts(self, name: str) -> tuple[int, ...]:
        """A list of whole numbers from 0."""
        numbers = self._list(name, int)
        if not all(0 <= number <= MOST for number in numbers):
            raise WrongField(f"field {name}")
        return tuple(numbers)

    def _list(self, name: str, kind: type) -> list[Any]:
        values = self._values.get(name)
        if not isinstance(values, list) or any(type(value) is not kind for value in values):
            raise WrongField(f"field {name}")
        return values

    def _is_null(self, name: str) -> bool:
        """Tell null from a field that is not there at all."""
        if name not in self._values:
            raise WrongField(f"field {name}")
        return self._values[name] is None
