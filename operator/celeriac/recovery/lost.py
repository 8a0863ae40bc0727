"""Registrations that are gone although somebody holds messages: an eviction or a hand removed them. No I/O.

An agent that lives registers again with its next report. Of a worker that died before that, only an operator knows that
has seen it registered; nobody looks through all keys of a broker but `celeriac evacuate`.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from celeriac.api.reasons import Reason
from celeriac.brokers.agents import Process, RegisteredPool
from celeriac.brokers.doubt import BrokerDoubt

MOST: Final = 1000
"""Processes of one pool of which a look asks what they hold; of others that are missed it is taken to be something."""


def with_lost(found: RegisteredPool, lost: Collection[Process], place: str) -> RegisteredPool:
    """What is registered, and what should be. `lost` were registered, are not any more, and may hold messages."""
    if not lost:
        return found
    doubt = BrokerDoubt(
        Reason.REGISTRATION_UNREADABLE,
        f"{len(lost)} workers that may hold messages are not registered in {place} any more, the first is"
        f" {next(iter(lost)).process}: Redis evicted the entry, or somebody removed it. What such a worker holds is put"
        " back when it is gone, as long as this operator runs; after its restart by `celeriac evacuate`",
    )
    known = (replace(each, reported=_reported(each, found)) for each in lost)
    return replace(found, processes=(*found.processes, *known), doubts=(*found.doubts, doubt))


def _reported(process: Process, found: RegisteredPool) -> int | None:
    """See Process.reported."""
    return found.beside.get(process.process, found.beside.get(process.pod_uid))
