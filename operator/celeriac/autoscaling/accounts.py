"""What whoever asks about a pool is told: what the last tick read and decided, and what was decided before."""

from collections.abc import Callable
from dataclasses import dataclass

from celeriac.autoscaling.journal import Entry, Journal
from celeriac.autoscaling.outcome import Outcome
from celeriac.autoscaling.pool_scaler import PoolScaler
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.readings import PoolReading
from celeriac.pool.layouts import effective_layout
from celeriac.pool.model import QueueLayout, WorkerPool
from celeriac.watching.store import KnownPool


@dataclass(frozen=True, slots=True)
class Account:
    """What whoever asks about a pool is told: reading and outcome of the last step at `now` (monotonic), and
    the entries of the journal.
    """

    pool: WorkerPool
    reading: PoolReading | BrokerDoubt | None
    outcome: Outcome | None
    layout: QueueLayout
    entries: tuple[Entry, ...]
    now: float


class Accounts:
    """Of all pools that are scaled; `journal` has their decisions."""

    def __init__(self, scaler_of: Callable[[KnownPool], PoolScaler | None], clock: Callable[[], float]) -> None:
        self._scaler_of = scaler_of
        self._clock = clock
        self.journal = Journal()

    def of(self, known: KnownPool) -> Account | None:
        """The account of a pool; None until a tick has looked at it."""
        scaler = self._scaler_of(known)
        if scaler is None or not isinstance(known.spec, WorkerPool):
            return None
        now, layout = self._clock(), effective_layout(known.spec, scaler.layout)
        entries = self.journal.of(known.key)
        return Account(known.spec, scaler.reading, scaler.outcome_at(now), layout, entries, now)
