"""The counters of one pool's tasks: they only grow, whatever becomes of what they are read from; pure.

The broker's counts outlive workers and this process, and may be lost: then they begin anew, and these go on.
"""

from collections.abc import Mapping
from typing import Final

from celeriac.api.words import foreign
from celeriac.brokers.task_counts import NOTHING, Row, Rows, ended, plus, since

OTHER: Final = "other"
"""In place of a name: tasks that have no series of their own."""
BUSIER: Final = 2
"""So many times as many tasks must a name have that takes the place of another: places do not change to and fro."""


class Tally:
    """Gives each of the busiest names a row of its own, and the others one together.

    A name that comes late to its place begins there at nought: what it had before was counted among the others. One
    that has lost its place and gets it again goes on where it was.
    """

    def __init__(self, most: int) -> None:
        """`most` names have rows of their own."""
        self._most = most
        self._last: dict[str, Row] = {}
        self._rows: dict[str, Row] = {}
        self._ended: dict[str, int] = {}
        self._placed: set[str] = set()
        self._other = NOTHING

    def take(self, rows: Rows) -> Mapping[str, Row]:
        """Take over what was read; the rows to be shown, by names as they may be shown to people."""
        more = {name: since(row, self._last.get(name, NOTHING)) for name, row in rows.items()}
        self._last = dict(rows)
        for name in more:
            self._ended[name] = self._ended.get(name, 0) + ended(more[name])
        known = rows.keys() | self._placed
        self._ended = {name: count for name, count in self._ended.items() if name in known}
        self._rows = {name: row for name, row in self._rows.items() if name in known}
        self._place()
        for name, row in more.items():
            if name in self._placed:
                self._rows[name] = plus(self._rows.get(name, NOTHING), row)
            else:
                self._other = plus(self._other, row)
        return self._shown()

    def _place(self) -> None:
        """Give the places to the busiest; who has one keeps it against those that are not much busier."""
        without = sorted(
            (name for name in self._ended if name and name not in self._placed), key=self._rank, reverse=True
        )
        for name in without:
            if len(self._placed) < self._most:
                self._placed.add(name)
                continue
            least = min(self._placed, key=self._rank, default=None)
            if least is None or self._ended[name] < BUSIER * max(self._ended.get(least, 0), 1):
                break
            self._placed.remove(least)
            self._placed.add(name)

    def _rank(self, name: str) -> tuple[int, str]:
        return self._ended.get(name, 0), name

    def _shown(self) -> Mapping[str, Row]:
        shown: dict[str, Row] = {}
        for name in self._placed:
            text = foreign(name)
            row = self._rows.get(name, NOTHING)
            shown[text] = plus(shown[text], row) if text in shown else row
        if any(self._other):
            shown[OTHER] = plus(shown[OTHER], self._other) if OTHER in shown else self._other
        return shown
