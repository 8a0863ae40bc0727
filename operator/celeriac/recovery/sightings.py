"""What was seen of processes and of the ends of their containers, and in which order: look by look, without a clock
but the operator's own monotonic one, in seconds.

A look reads the registry first and then asks which end of its container each Pod knows. So a process that was not there
when the registry was read after an end had been seen is younger than that end, and one whose reports move between two
readings after it has outlived it, whatever the clock of its node says.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from celeriac.brokers.agents import Process, RegistryEntry

Name = tuple[RegistryEntry, str]
Ends = Mapping[str, str]
"""By the uid of a Pod: which container of it ended last."""


class Sighting(NamedTuple):
    """What one look adds up to for one process.

    silent_seconds  since its reports stand still; 0 where nobody could hear them
    outlived        the end of a container of its Pod that it has outlived, None where it is not known to have
    displaced       another process of its Pod reports now
    """

    silent_seconds: float = 0.0
    outlived: str | None = None
    displaced: bool = False


@dataclass(slots=True)
class _Seen:
    """What told the last report of a process from the one before, since when that is so; what it was after an end."""

    reported: int | None
    since: float
    outlived: str | None = None
    end: str | None = None
    reported_after: int | None = None

    def report(self, reported: int | None, now: float) -> None:
        if reported != self.reported:
            self.reported, self.since = reported, now

    def report_after(self, end: str, reported: int | None) -> None:
        """Take over a report that was read after this end had been seen."""
        if end != self.end:
            self.end, self.reported_after = end, reported
        elif reported is not None and reported != self.reported_after:
            self.outlived = end


class Sightings:
    """Remembers the processes whose reports could be heard, and the ends that were known at the last two looks."""

    def __init__(self) -> None:
        self._seen: dict[Name, _Seen] = {}
        self._ends: Mapping[RegistryEntry, Ends] = {}
        self._ends_before: Mapping[RegistryEntry, Ends] = {}

    def look(
        self, processes: Iterable[Process], ends: Mapping[RegistryEntry, Ends], now: float
    ) -> dict[Name, Sighting]:
        """Take over one look: the processes that are registered, and then the ends that were known.

        `ends` has an item for each pool whose registry could be read and whose reports could be heard; what was known
        of others is forgotten.
        """
        found = list(processes)
        seen = {name_of(each): self._one(each, ends.get(each.entry, {}).get(each.pod_uid), now) for each in found}
        reporting = {each.pod_uid: each.process for each in found if each.reported is not None}
        self._seen = seen
        self._ends_before = {entry: self._ends.get(entry, {}) for entry in ends}
        self._ends = ends
        return {
            name_of(each): Sighting(
                now - seen[name_of(each)].since,
                seen[name_of(each)].outlived,
                each.reported is None and each.pod_uid in reporting,
            )
            for each in found
        }

    def _one(self, process: Process, end: str | None, now: float) -> _Seen:
        """What is known of one process after this look. `end` is the last one that its Pod knows."""
        known = end is not None and end == self._ends.get(process.entry, {}).get(process.pod_uid)
        seen = self._seen.get(name_of(process))
        if seen is None:
            seen = _Seen(process.reported, now)
            if known and end == self._ends_before.get(process.entry, {}).get(process.pod_uid):
                seen.outlived = end
        seen.report(process.reported, now)
        if known and end is not None:
            seen.report_after(end, process.reported)
        return seen


def name_of(process: Process) -> Name:
    """A process of one registry; another may have one of the same name."""
    return process.entry, process.process
