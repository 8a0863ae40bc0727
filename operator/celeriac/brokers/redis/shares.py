"""What workers hold of the queues of one key prefix: the unacked hash with the exchanges' bindings beside it."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final, NamedTuple

from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.redis.bindings import MOST_BINDINGS, WORK, Table
from celeriac.brokers.redis.errors import queue_doubt
from celeriac.brokers.redis.message_queries import Entries
from celeriac.brokers.redis.part_queries import SetPart
from celeriac.brokers.redis.queries import Query, Tags
from celeriac.brokers.redis.reading_plan import Share
from celeriac.brokers.redis.unacked import Holdings, Ledger, Route

BINDINGS_SECONDS: Final = 5.0
MOST_EXCHANGES: Final = 100
"""Exchanges of one share whose bindings are kept,"""
EXCHANGES_AT_ONCE: Final = 10
"""and are read by one reading."""
LONGEST_ROW: Final = 4096
TABLE_BYTES: Final = 1024 * 1024


class _Seen(NamedTuple):
    """A table as it was when it was read, and a hash of the rows that it was made from."""

    table: Table
    rows: int
    at: float


class ShareReader:
    """Follows one share from reading to reading: tags, then entries of new tags, then bindings of their exchanges."""

    def __init__(self, share: Share, where: str, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._share = share
        self._where = where
        self._clock = clock
        self._ledger = Ledger(share.unacked_key, clock)
        self._tables: dict[str, _Seen] = {}
        self._doubt: BrokerDoubt | None = None
        self._work, self._is_whole = WORK, True

    def tags_query(self) -> Tags:
        """Begin a reading."""
        self._doubt = None
        return self._ledger.tags_query()

    def note_tags(self, reply: Any) -> list[Entries]:
        """Take the tags; ask for what is new."""
        if isinstance(reply, Exception):
            self._doubt = queue_doubt(reply, self._share.unacked_key, "hash", self._where)
            return []
        size, text = reply
        return self._ledger.note_tags(size, text)

    def note_entries(self, query: Entries, reply: Any) -> None:
        """Take the entries."""
        replies = [reply] if isinstance(reply, Exception) else reply
        error = next((entry for entry in replies if isinstance(entry, Exception)), None)
        if error is not None:
            self._doubt = queue_doubt(error, self._share.unacked_key, "hash", self._where)
            return
        self._ledger.note_entries(query.tags, reply)

    def stale_exchanges(self) -> list[str]:
        """Exchanges in use whose bindings are not known or older than BINDINGS_SECONDS, some of them at a time."""
        oldest = self._clock() - BINDINGS_SECONDS
        in_use = sorted(self._ledger.exchanges())[:MOST_EXCHANGES]
        self._tables = {exchange: seen for exchange, seen in self._tables.items() if exchange in in_use}
        stale = [name for name in in_use if name not in self._tables or self._tables[name].at < oldest]
        return stale[:EXCHANGES_AT_ONCE]

    def bindings_query(self, exchange: str) -> Query:
        """Ask for an exchange's bindings."""
        return SetPart(self._share.binding_key(exchange), MOST_BINDINGS, LONGEST_ROW, TABLE_BYTES)

    def note_bindings(self, exchange: str, reply: Any) -> None:
        """Take the bindings; what was found out by those of before stands where they are the same."""
        if isinstance(reply, Exception):
            self._doubt = queue_doubt(reply, self._share.binding_key(exchange), "set", self._where)
            return
        passed, rows = reply
        seen, made_from = self._tables.get(exchange), hash((passed, frozenset(rows)))
        is_same = seen is not None and made_from == seen.rows
        table = seen.table if seen is not None and is_same else Table(rows, self._share.separator, whole=not passed)
        self._tables[exchange] = _Seen(table, made_from, self._clock())

    def holdings(self, now: float) -> Holdings | BrokerDoubt:
        """What workers hold at Unix time `now`, or why that is not known.

        It is not exact where bindings are missing, or take more work than one reading may spend: the next one goes on.
        """
        if self._doubt is not None:
            return self._doubt
        self._work, self._is_whole = WORK, True
        holdings = self._ledger.holdings(now, self._queues_of)
        return holdings if self._is_whole else replace(holdings, exact=False)

    def _queues_of(self, route: Route) -> Iterable[str]:
        exchange, routing_key = route
        if not exchange:
            return (routing_key,)
        seen = self._tables.get(exchange)
        queues = None
        if seen is not None:
            queues, self._work = seen.table.queues(routing_key, self._work)
        self._is_whole &= seen is not None and seen.table.whole and queues is not None
        return queues or ()
