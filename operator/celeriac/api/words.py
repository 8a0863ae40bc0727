"""How a sentence is made that everybody says."""

from collections.abc import Sequence


def first_of(names: Sequence[str], most: int) -> str:
    """The first names, `most` of them, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
