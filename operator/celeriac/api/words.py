"""How a sentence is made that everybody says, and how somebody else's text stands in it."""

from collections.abc import Sequence


def first_of(names: Sequence[str], most: int) -> str:
    """The first names, `most` of them, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def is_whole(text: str) -> bool:
    """Whether a text can be written: it has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
