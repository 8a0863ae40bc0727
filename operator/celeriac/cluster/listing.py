"""Lists of the API server, taken object by object: a thousand Deployments at once are 40 MiB, one is 40 KiB."""

import json
import re
from collections.abc import Generator, Iterable, Iterator
from http import HTTPStatus
from typing import Any, Final

from celeriac.cluster.errors import ApiError

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_VALUE: Final = json.JSONDecoder().raw_decode


class Listing:
    """The objects of a kind, to be taken once. What else the list says is known after that.

    version  the resourceVersion of the list
    more     the token with which the next page is asked for; empty where this is all
    """

    def __init__(self, objects: Iterable[dict[str, Any]], version: str = "") -> None:
        self._objects = objects
        self.version = version
        self.more = ""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._objects)

    @classmethod
    def decoded(cls, answer: bytes) -> "Listing":
        """The list in an answer's JSON. To take an object raises ApiError where that is none of a list."""
        listing = cls(())
        listing._objects = listing._decoded(answer)
        return listing

    def _decoded(self, answer: bytes) -> Iterator[dict[str, Any]]:
        metadata: Any = {}
        try:
            text = answer.decode()
            at = _after(text, 0, "{")
            while True:
                name, at = _value(text, at)
                at = _after(text, at, ":")
                if name == "items":
                    at = yield from _elements(text, at)
                else:
                    value, at = _value(text, at)
                    metadata = value if name == "metadata" else metadata
                if text[at] == "}":
                    break
                at = _after(text, at, ",")
            self.version, self.more = metadata.get("resourceVersion", ""), metadata.get("continue", "")
        except (ValueError, LookupError, AttributeError) as error:
            message = f"the API server sent no list in JSON: {error}"
            raise ApiError(HTTPStatus.OK, "InvalidAnswer", message) from error


def _elements(text: str, at: int) -> Generator[Any, None, int]:
    """The elements of the array that begins there; returns where it has ended. A list of nothing may be null."""
    if text.startswith("null", at):
        return at + len("null")
    at = _after(text, at, "[")
    if text[at] == "]":
        return _after(text, at, "]")
    while True:
        value, at = _value(text, at)
        yield value
        if text[at] == "]":
            return _after(text, at, "]")
        at = _after(text, at, ",")


def _value(text: str, at: int) -> tuple[Any, int]:
    """The value that begins there, and where the next text begins."""
    value, end = _VALUE(text, at)
    return value, _skip(text, end)


def _after(text: str, at: int, sign: str) -> int:
    """Where the text begins that follows this sign. Raises ValueError where another stands there."""
    if text[at] != sign:
        raise ValueError(f"{sign} is missing at {at}")
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()
