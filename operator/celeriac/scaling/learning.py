"""What a pool's past says: how long tasks take, how fast they come and go, how long a pod takes to start. Pure.

Everything comes from cumulative counters of the worker processes and from what is in the queues, so that a missed
reading loses nothing. Memory is bounded at any rate of ticks and tasks. Times are seconds on one monotonic clock.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from celeriac.scaling.arrivals import Arrivals, advance

RATE_SECONDS = 30.0
"""Time constant of the exponentially weighted rates."""
RUNTIME_SECONDS = 60.0
RUNTIME_TASKS = 20
"""The mean runtime is that of the last 60 s, or of the last 20 tasks where those are fewer."""
ENOUGH_TASKS = 5
"""Completions below which a mean runtime says nothing."""
COLD_STARTS = 10
"""Pods whose start makes the mean."""
FORGET_SECONDS = 600.0
"""A process that was not reported for so long does not come back. A broker that lost its reports gets them again."""
GAP_SECONDS = 5.0
"""After a gap between two samples it is not known when a pod began to consume."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading of a pool.

    now        monotonic seconds
    waiting    due messages in its queues
    in_system  tasks that are due and not finished: waiting, reserved and running ones, by the last report of each
               worker, be it old; ETA tasks enter when they fall due
    counters   (completions, busy slot-seconds with those of unfinished tasks) since its start, of each worker process
    started    for each pod, by uid: whether its worker has come so far as to consume
    """

    now: float
    waiting: int
    in_system: int
    counters: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    started: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Process:
    """The last counters of one worker process."""

    processed: int
    busy: float
    seen: float


@dataclass(frozen=True, slots=True)
class _Totals:
    """Completions and busy slot-seconds of all processes up to one moment."""

    at: float
    processed: int = 0
    busy: float = 0.0


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned so far; pass it to the next `learn`.

    past       totals at earlier moments, about one a second; the first is where the mean runtime counts from
    first_seen  when each pod was first seen, None once its start was counted, or could not be
    """

    totals: _Totals | None = None
    past: tuple[_Totals, ...] = ()
    processes: Mapping[str, _Process] = field(default_factory=dict)
    arrivals: Arrivals | None = None
    arrival_rate: float = 0.0
    departure_rate: float = 0.0
    first_seen: Mapping[str, float | None] = field(default_factory=dict)
    cold_starts: tuple[float, ...] = ()
    runtime_seed: float | None = None

    @classmethod
    def seeded(cls, *, runtime_seconds: float | None = None, cold_start_seconds: float | None = None) -> "Learned":
        """What an earlier leader knew; own observations replace it as soon as there are enough."""
        cold_starts = () if cold_start_seconds is None else (cold_start_seconds,)
        return cls(runtime_seed=runtime_seconds, cold_starts=cold_starts)

    @property
    def runtime_seconds(self) -> float | None:
        """Mean seconds that a task occupies a slot (R), None while unknown."""
        if self.totals is None or not self.past:
            return self.runtime_seed
        tasks = self.totals.processed - self.past[0].processed
        if tasks < ENOUGH_TASKS:
            return self.runtime_seed
        return (self.totals.busy - self.past[0].busy) / tasks

    @property
    def cold_start_seconds(self) -> float:
        """Mean seconds from a pod's first sight to its first consuming (C), 0 while none was seen to start."""
        return sum(self.cold_starts) / len(self.cold_starts) if self.cold_starts else 0.0

    @property
    def oldest_seconds(self) -> float:
        """Age of the oldest waiting task, first in first out; 0 where none waits."""
        if self.totals is None or self.arrivals is None:
            return 0.0
        return self.arrivals.oldest_seconds(self.totals.at)


def learn(learned: Learned, sample: Sample) -> Learned:
    """Return what is known after one more sample.

    The first sample only says where counting starts: what was done before is not known to have been done lately. So it
    is after a gap over which the processes were forgotten.
    """
    if learned.totals is not None and sample.now - learned.totals.at >= FORGET_SECONDS:
        learned = Learned(runtime_seed=learned.runtime_seconds, cold_starts=learned.cold_starts)
    before = learned.totals
    if before is not None and sample.now <= before.at:
        return learned
    processed, busy, processes = _account(learned.processes, sample)
    if before is None:
        totals = _Totals(sample.now)
        learned = replace(learned, totals=totals, past=(totals,), processes=processes)
        arrivals = advance(None, sample.now, sample.in_system, sample.waiting)
        return replace(_note_starts(learned, sample, gap=math.inf), arrivals=arrivals)
    totals = _Totals(sample.now, before.processed + processed, before.busy + busy)
    arrivals = advance(learned.arrivals, sample.now, sample.in_system + totals.processed, sample.waiting)
    came = arrivals.total - (learned.arrivals.total if learned.arrivals else arrivals.total)
    seconds = sample.now - before.at
    learned = replace(
        learned,
        totals=totals,
        past=_prune((*learned.past, totals), totals),
        processes=processes,
        arrivals=arrivals,
        arrival_rate=_smooth(learned.arrival_rate, came, seconds),
        departure_rate=_smooth(learned.departure_rate, processed, seconds),
    )
    return _note_starts(learned, sample, gap=seconds)


def _account(known: Mapping[str, _Process], sample: Sample) -> tuple[int, float, dict[str, _Process]]:
    """Return what was completed and worked since the last sample, and the processes to remember.

    A process that is new, or counts from zero again, brings all that it counted; one that vanished keeps what it
    brought, and is remembered for a while: its report may only have been lost.
    """
    processed, busy = 0, 0.0
    remembered = {name: process for name, process in known.items() if sample.now - process.seen < FORGET_SECONDS}
    for name, (now_processed, now_busy) in sample.counters.items():
        last = remembered.get(name)
        if last is None or now_processed < last.processed:
            last = _Process(0, 0.0, sample.now)
        processed += now_processed - last.processed
        busy += max(0.0, now_busy - last.busy)
        remembered[name] = _Process(now_processed, now_busy, sample.now)
    return processed, busy, remembered


def _prune(past: tuple[_Totals, ...], totals: _Totals) -> tuple[_Totals, ...]:
    """Keep the latest moment that has both 60 s and 20 completions behind it, what follows, and one moment a second.

    Of what is older than 60 s only one moment for each number of completions can ever become the first.
    """
    if len(past) > 1 and int(past[-1].at) == int(past[-2].at):
        past = past[:-1]
    edge = totals.at - RUNTIME_SECONDS
    old = list({moment.processed: moment for moment in past if moment.at <= edge}.values())
    fresh = [moment for moment in past if moment.at > edge]
    while len(old) > 1 and old[1].processed <= totals.processed - RUNTIME_TASKS:
        del old[0]
    return (*old, *fresh)


def _smooth(rate: float, number: float, seconds: float) -> float:
    """Return the exponentially weighted rate after so many events in so many seconds."""
    return rate + (number / seconds - rate) * -math.expm1(-seconds / RATE_SECONDS)


def _note_starts(learned: Learned, sample: Sample, *, gap: float) -> Learned:
    """Count the pods that have come to consume since the last sample, each once: a restarted worker is no new pod.

    When those of the first sample were created is not known.
    """
    first_seen: dict[str, float | None] = {}
    cold_starts = learned.cold_starts
    for uid, started in sample.started.items():
        since = learned.first_seen.get(uid, None if started or math.isinf(gap) else sample.now)
        if started and since is not None:
            if gap <= GAP_SECONDS:
                cold_starts = (*cold_starts, sample.now - since)[-COLD_STARTS:]
            since = None
        first_seen[uid] = since
    return replace(learned, first_seen=first_seen, cold_starts=cold_starts)
