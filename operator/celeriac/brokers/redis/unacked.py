"""Which queues the messages in kombu's `unacked` hash belong to, at a bounded cost.

The hash is shared by all queues of a database and key prefix: delivery tag -> JSON [message, exchange, routing_key].
Tags are unique, and an entry never changes, so each is read once. No message is kept, only where it was routed and its
ETA.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from celeriac.api.words import is_whole
from celeriac.brokers.redis.message_queries import Entries
from celeriac.brokers.redis.queries import Tags

EXACT_UP_TO: Final = 5000
SAMPLE: Final = 500
SAMPLE_SECONDS: Final = 2.0
SLICE: Final = 100
MOST_ROUTES: Final = 1000
"""Routes that are kept of one hash."""
LONGEST_NAME: Final = 255
"""Characters of an exchange and of a routing key in AMQP."""

Route = tuple[str, str]


class Delivery(NamedTuple):
    """Where a message was routed (exchange, routing key) and its ETA as a Unix time."""

    route: Route
    eta: float | None


@dataclass(frozen=True, slots=True)
class Holdings:
    """Messages at workers, per queue. `exact` is False for estimates and where an entry could not be understood."""

    held: Mapping[str, int] = field(default_factory=dict)
    scheduled: Mapping[str, int] = field(default_factory=dict)
    exact: bool = True


class Ledger:
    """What is known of one unacked hash."""

    def __init__(self, key: str, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self.key = key
        self._clock = clock
        self._size = 0
        self._sampled_at = float("-inf")
        self._deliveries: dict[bytes, Delivery | None] = {}
        self._routes: dict[Route, Route] = {}

    def tags_query(self) -> Tags:
        """Ask for the tags; a new sample of a big hash only every SAMPLE_SECONDS."""
        due = self._clock() - self._sampled_at >= SAMPLE_SECONDS
        return Tags(self.key, EXACT_UP_TO, SAMPLE if due else 0)

    def note_tags(self, size: int, text: bytes) -> list[Entries]:
        """Forget the tags that are gone, and ask for the entries of those that are new."""
        self._size = size
        if size > EXACT_UP_TO:
            if not text:
                return []
            self._sampled_at = self._clock()
        tags = text.split(b"\n") if text else []
        known = self._deliveries
        self._deliveries = {tag: known[tag] for tag in tags if tag in known}
        self._routes = {each.route: each.route for each in self._deliveries.values() if each is not None}
        new = [tag for tag in tags if tag not in known]
        return [Entries(self.key, tuple(new[i : i + SLICE])) for i in range(0, len(new), SLICE)]

    def note_entries(self, tags: Sequence[bytes], entries: Sequence[bytes | None]) -> None:
        """Keep what the entries of the first tags say; one that is gone was acknowledged in between."""
        for tag, entry in zip(tags, entries, strict=False):
            if entry is None:
                self._size -= 1
            else:
                self._deliveries[tag] = self._kept(delivery_of(entry))

    def _kept(self, delivery: Delivery | None) -> Delivery | None:
        """The delivery with the route that equal ones share; None where there are too many routes already."""
        if delivery is None or (delivery.route not in self._routes and len(self._routes) >= MOST_ROUTES):
            return None
        return Delivery(self._routes.setdefault(delivery.route, delivery.route), delivery.eta)

    def exchanges(self) -> set[str]:
        """Exchanges whose bindings have to be known."""
        return {delivery.route[0] for delivery in self._deliveries.values() if delivery and delivery.route[0]}

    def holdings(self, now: float, queues_of: Callable[[Route], Iterable[str]]) -> Holdings:
        """Messages per queue at Unix time `now`; `queues_of` resolves a route."""
        routes_held: Counter[Route] = Counter()
        routes_scheduled: Counter[Route] = Counter()
        unreadable = 0
        for delivery in self._deliveries.values():
            if delivery is None:
                unreadable += 1
            elif delivery.eta is not None and delivery.eta > now:
                routes_scheduled[delivery.route] += 1
            else:
                routes_held[delivery.route] += 1
        known = len(self._deliveries)
        scale = self._size / known if known else 1.0
        return Holdings(
            held=_per_queue(routes_held, queues_of, scale),
            scheduled=_per_queue(routes_scheduled, queues_of, scale),
            exact=not unreadable and known == self._size,
        )


def delivery_of(entry: bytes) -> Delivery | None:
    """Read an entry of the hash; None where it is not one of kombu's, or nested deeper than Python reads.

    No queue has a name that cannot be written, or that is too long to be read.
    """
    try:
        message, exchange, routing_key = json.loads(entry)
    except (ValueError, TypeError, RecursionError):
        return None
    route = (exchange or "", routing_key or "")
    if not all(isinstance(name, str) and len(name) <= LONGEST_NAME and is_whole(name) for name in route):
        return None
    return Delivery(route, eta_of(message))


def eta_of(message: Any) -> float | None:
    """Unix time of a message's ETA (Celery's protocol 2: headers.eta, ISO-8601, UTC unless it says otherwise)."""
    headers = message.get("headers") if isinstance(message, dict) else None
    eta = headers.get("eta") if isinstance(headers, dict) else None
    if not isinstance(eta, str):
        return None
    try:
        moment = datetime.fromisoformat(eta)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _per_queue(
    routes: Mapping[Route, int], queues_of: Callable[[Route], Iterable[str]], scale: float
) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for route, count in routes.items():
        for queue in queues_of(route):
            totals[queue] += count
    return {queue: math.ceil(count * scale) for queue, count in totals.items()}
