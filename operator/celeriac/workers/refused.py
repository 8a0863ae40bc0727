"""What a broker refuses to the workers of a pool, by their own word."""

from dataclasses import replace
from typing import Final

from celeriac.api.reasons import Reason
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.readings import PoolReading
from celeriac.workers.worker import Workers

FULL: Final = "OOM"
"""The word by which a broker that is full refuses a write."""


def with_refusal(reading: PoolReading | BrokerDoubt, workers: Workers | None) -> PoolReading | BrokerDoubt:
    """The reading, with what fresh reports say where the broker itself tells nothing."""
    words = workers.refusals if workers is not None else ()
    if isinstance(reading, BrokerDoubt) or reading.refusal is not None or not words:
        return reading
    reason = Reason.BROKER_FULL if FULL in words else Reason.BROKER_REFUSES_WRITES
    message = (
        f"the broker refuses what {len(words)} worker(s) of the pool write ({', '.join(sorted(set(words)))}): they keep"
        " it and try again, so that no message is lost while they live; raise maxmemory (OOM), let it save (MISCONF),"
        " give the workers' user its rights back (NOPERM), as the word says"
    )
    return replace(reading, refusal=BrokerDoubt(reason, message))
