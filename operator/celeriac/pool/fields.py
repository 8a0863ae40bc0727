"""Reads the fields of a JSON object, each with its type and its bounds checked; an error names the whole path."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from celeriac.api.words import holds_control
from celeriac.pool.model import InvalidPool

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

ALIKE: Final = 0.75
"""Two names whose likeness (difflib) is at least so great are one with a slip of the pen."""

NO_LINE: Final = "must not hold line ends or other control characters: remove them"

_UNKNOWN: Final = "is no field that can be set here"
_WORD: Final = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")

_KINDS: dict[type, str] = {bool: "a boolean", int: "an integer", float: "a number", str: "a string", list: "a list"}


def kind(value: object) -> str:
    """What a value is in the words of JSON, for messages: values themselves may be secrets."""
    return _KINDS.get(
        type(value), "null" if value is None else "an object" if isinstance(value, Mapping) else "unknown"
    )


def unknown_field(path: str, name: str, known: Iterable[str], cure: str | None = None) -> InvalidPool:
    """The error for a field of the object at `path` that there is not: the cure, or the name it looks like."""
    guess = None if cure else _nearest(name, known)
    explained = re.sub(r"\[.*?\]", "", f"cwp.{path}".removesuffix("."))
    help_ = cure or f"{f'did you mean {guess}? See' if guess else 'see'} kubectl explain {explained}"
    return InvalidPool(f"{path}.{name}".lstrip("."), f"{_UNKNOWN}: {help_}")


def is_unknown_field(problem: InvalidPool) -> bool:
    """Whether it is what `unknown_field` made."""
    return f": {_UNKNOWN}: " in str(problem)


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant: it has all words of the given one, or nearly so."""
    names = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), names, n=5, cutoff=0.5)
    return next((names[each] for each in near if _means(name, names[each])), None)


def _means(name: str, other: str) -> bool:
    if _likeness(name, other) >= ALIKE:
        return True
    words = [word.lower() for word in _WORD.findall(other)]
    return all(
        any(word.startswith(part.lower()) or _likeness(part, word) >= ALIKE for word in words)
        for part in _WORD.findall(name)
    )


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one.lower(), other.lower()).ratio()


@dataclass(frozen=True, slots=True)
class Fields:
    """One object of a resource. `path` is its place, e.g. spec.broker. A field that is null counts as absent.

    All methods raise InvalidPool for a value of another type or out of bounds, and return `default` for none.
    """

    path: str
    values: Mapping[str, Any]

    @classmethod
    def of(cls, path: str, value: object) -> "Fields":
        """Take a value for an object with string keys."""
        if value is None:
            raise InvalidPool(path, "is missing: set it, it is an object")
        if not isinstance(value, Mapping):
            raise InvalidPool(path, f"must be an object, not {kind(value)}")
        if not all(isinstance(key, str) for key in value):
            raise InvalidPool(path, "must have strings for keys: quote them")
        return cls(path, value)

    def at(self, name: str) -> str:
        """The path of a field."""
        return f"{self.path}.{name}"

    def has(self, name: str) -> bool:
        """Whether a field is there."""
        return self.values.get(name) is not None

    def invalid(self, name: str, message: str) -> InvalidPool:
        """The error for a field."""
        return InvalidPool(self.at(name), message)

    def child(self, name: str) -> "Fields":
        """A nested object; an absent one is empty."""
        return Fields.of(self.at(name), self.values[name] if self.has(name) else {})

    def children(self, name: str) -> list["Fields"]:
        """A list of objects; an absent one is empty."""
        return [Fields.of(f"{self.at(name)}[{index}]", item) for index, item in enumerate(self._list(name) or ())]

    def text(self, name: str, default: T, *, empty: bool = False) -> str | T:
        """A string; an empty one only where `empty` allows it."""
        return self._text(self.at(name), self.values[name], empty) if self.has(name) else default

    def line(self, name: str, default: T, *, empty: bool = False) -> str | T:
        """A string without control characters."""
        text = self.text(name, default, empty=empty)
        if isinstance(text, str) and holds_control(text):
            raise self.invalid(name, NO_LINE)
        return text

    def needed(self, name: str, example: str) -> str:
        """A string that must be there; `example` shows one."""
        if not self.has(name):
            raise self.invalid(name, f"is missing: set it, e.g. {example}")
        return self._text(self.at(name), self.values[name])

    def texts(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """A list of strings, none of them empty."""
        items = self._list(name)
        if items is None:
            return default
        return tuple(self._text(f"{self.at(name)}[{index}]", item) for index, item in enumerate(items))

    def matching(self, name: str, default: T, pattern: str, message: str) -> str | T:
        """A string in which the pattern is found; `message` says what is wrong with any other."""
        text = self.text(name, default)
        if isinstance(text, str) and re.search(pattern, text) is None:
            raise self.invalid(name, message)
        return text

    def integer(self, name: str, default: T, minimum: int, maximum: int) -> int | T:
        """An integer within bounds, both included."""
        return self._integer(self.at(name), self.values[name], minimum, maximum) if self.has(name) else default

    def integers(self, name: str, default: tuple[int, ...], minimum: int, maximum: int) -> tuple[int, ...]:
        """A list of integers, each within bounds."""
        items = self._list(name)
        if items is None:
            return default
        return tuple(self._integer(f"{self.at(name)}[{i}]", item, minimum, maximum) for i, item in enumerate(items))

    def number(self, name: str, default: T, minimum: float, maximum: float) -> float | T:
        """An integer or a float within bounds, both included."""
        if not self.has(name):
            return default
        value = self.values[name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.invalid(name, f"must be a number, not {kind(value)}")
        if not minimum <= value <= maximum:  # false for NaN, too
            raise self.invalid(name, f"must be between {minimum} and {maximum}")
        return float(value)

    def boolean(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self.values[name] if self.has(name) else default
        if not isinstance(value, bool):
            raise self.invalid(name, f"must be true or false, not {kind(value)}")
        return value

    def choice(self, name: str, default: E) -> E:
        """One of the values of the default's enum."""
        value = self.values[name] if self.has(name) else default
        options = type(default)
        if not isinstance(value, str) or value not in list(options):
            raise self.invalid(name, f"must be one of {', '.join(options)}")
        return options(value)

    def _list(self, name: str) -> list[Any] | None:
        if not self.has(name):
            return None
        value = self.values[name]
        if not isinstance(value, list):
            raise self.invalid(name, f"must be a list, not {kind(value)}")
        return value

    @staticmethod
    def _text(path: str, value: object, empty: bool = False) -> str:
        if not isinstance(value, str):
            raise InvalidPool(path, f"must be a string, not {kind(value)}")
        if not (value or empty):
            raise InvalidPool(path, "must not be empty: set it or drop it")
        return value

    @staticmethod
    def _integer(path: str, value: object, minimum: int, maximum: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidPool(path, f"must be an integer, not {kind(value)}")
        if not minimum <= value <= maximum:
            raise InvalidPool(path, f"must be between {minimum} and {maximum}")
        return value
