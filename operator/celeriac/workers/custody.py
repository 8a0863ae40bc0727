"""What workers that may be gone still hold: written by recovery, read by the tick."""

from collections.abc import Set
from dataclasses import dataclass


@dataclass(slots=True)
class Custody:
    """One instance is shared. Its field is replaced as a whole, never changed.

    unresolved  uids of pools of which nobody can say that they hold nothing: a worker may be gone whose messages are
                not back, or what is registered could not be read or understood
    """

    unresolved: Set[str] = frozenset()
