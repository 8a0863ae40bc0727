"""The one teller of notices: each becomes an event of its pool."""

from celeriac.api.notices import Notice
from celeriac.cluster.events import EventRecorder
from celeriac.watching.store import Store


class EventTeller:
    """Tells of pools that are known; what concerns a pool that is gone concerns nobody."""

    def __init__(self, events: EventRecorder, store: Store) -> None:
        self._events = events
        self._store = store

    def tell(self, notice: Notice) -> None:
        """Make an event of it. Returns at once; the event is written beside the caller."""
        known = self._store.pools.get(notice.pool)
        if known is not None:
            self._events.emit(
                known.reference, notice.type, notice.reason, notice.message, notice.action, dedupe=notice.series
            )
