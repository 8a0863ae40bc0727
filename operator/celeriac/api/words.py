"""How a sentence is made that everybody says, and how somebody else's text stands in it."""

import re
from collections.abc import Sequence
from typing import Final

LONGEST_FOREIGN: Final = 200  # characters


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LINE_END: Final = re.compile(r"[\x00\n\v\f\r\x1c-\x1e\x85\u2028\u2029\ud800-\udfff]")


def holds_control(text: str) -> bool:
    """Whether it holds what cannot be in a line: to another service than Redis it would be a command of its own."""
    return _CONTROL.search(text) is not None


def holds_line_end(text: str) -> bool:
    """Whether it would be several lines to somebody; other control characters may be in it, as in kombu's separator."""
    return _LINE_END.search(text) is not None


def first_of(names: Sequence[str], most: int) -> str:
    """The first names, `most` of them, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def foreign(text: str, most: int = LONGEST_FOREIGN) -> str:
    """A stranger's text as it may stand in a sentence, a log or a terminal: what is not printable escaped, and cut.

    Line ends, control characters, what turns the direction of writing and what nobody sees are not printable. All that
    a broker says passes here, or one of the narrow patterns by which it is read.
    """
    cut = text[:most]
    shown = cut if cut.isprintable() else "".join(map(_shown, cut))
    return shown if len(shown) <= most and len(text) <= most else f"{shown[: most - 1]}…"


def quoted(text: str, most: int = LONGEST_FOREIGN) -> str:
    """The same between quotation marks, for a text that may be empty or end in a blank."""
    marked = foreign(text, most).replace("'", r"\'")
    return f"'{marked}'"


def _shown(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()


def is_whole(text: str) -> bool:
    """Whether a text can be written: it has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
