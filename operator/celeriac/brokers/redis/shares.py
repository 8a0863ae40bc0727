"""What workers hold of the queues of one key prefix: the unacked hash with the exchanges' bindings beside it."""

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.redis.bindings import Binding, bindings_of, queues_bound
from celeriac.brokers.redis.errors import queue_doubt
from celeriac.brokers.redis.message_queries import Entries
from celeriac.brokers.redis.queries import Ask, Query, Tags
from celeriac.brokers.redis.reading_plan import Share
from celeriac.brokers.redis.unacked import Holdings, Ledger, Route

BINDINGS_SECONDS: Final = 5.0


class _Table(NamedTuple):
    bindings: list[Binding]
    at: float


class ShareReader:
    """Follows one share from reading to reading: tags, then entries of new tags, then bindings of their exchanges."""

    def __init__(self, share: Share, where: str, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._share = share
        self._where = where
        self._clock = clock
        self._ledger = Ledger(share.unacked_key, clock)
        self._tables: dict[str, _Table] = {}
        self._doubt: BrokerDoubt | None = None

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
        """Exchanges in use whose bindings are not known or older than BINDINGS_SECONDS."""
        oldest = self._clock() - BINDINGS_SECONDS
        in_use = self._ledger.exchanges()
        self._tables = {exchange: table for exchange, table in self._tables.items() if exchange in in_use}
        return [name for name in in_use if name not in self._tables or self._tables[name].at < oldest]

    def bindings_query(self, exchange: str) -> Query:
        """Ask for an exchange's bindings."""
        return Ask(("SMEMBERS", self._share.binding_key(exchange)))

    def note_bindings(self, exchange: str, reply: Any) -> None:
        """Take the bindings."""
        if isinstance(reply, Exception):
            self._doubt = queue_doubt(reply, self._share.binding_key(exchange), "set", self._where)
            return
        self._tables[exchange] = _Table(bindings_of(reply, self._share.separator), self._clock())

    def holdings(self, now: float) -> Holdings | BrokerDoubt:
        """What workers hold at Unix time `now`, or why that is not known."""
        return self._doubt or self._ledger.holdings(now, self._queues_of)

    def _queues_of(self, route: Route) -> Iterable[str]:
        exchange, routing_key = route
        if not exchange:
            return (routing_key,)
        table = self._tables.get(exchange)
        return queues_bound(table.bindings, routing_key) if table else ()
