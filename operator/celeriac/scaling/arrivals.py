"""The curve of arrivals: how many tasks have come up to which moment. It dates the oldest that waits. Pure.

What has come is what is in the system plus what was completed. The workers' reports lag behind the queues by a second
or so, and each by another time: a task that was just taken is in neither, so the sum dips and comes back. The curve is
therefore the highest sum so far. What stays away longer was purged or lost, and the curve goes on from there.
"""

from dataclasses import dataclass

SETTLE_SECONDS = 5.0
"""Reports come every second; a dip that lasts longer is none."""
CURVE_POINTS = 256
RECENT_POINTS = 64


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The curve up to now.

    total   tasks that have come
    offset  total minus the sum at the last peak: what was lost
    peak_at the moment at which the sum was last as high as the curve
    recent  (moment, sum) of the last SETTLE_SECONDS
    curve   (moment, total) of the tasks that still wait, oldest first; where it gets long, a task is rather taken for
            a little older than for younger
    """

    total: int
    offset: int
    peak_at: float
    recent: tuple[tuple[float, int], ...]
    curve: tuple[tuple[float, int], ...]

    def oldest_seconds(self, now: float) -> float:
        """Age of the oldest task that waits, 0 where none does."""
        return now - self.curve[0][0] if self.curve else 0.0


def advance(arrivals: Arrivals | None, now: float, level: int, waiting: int) -> Arrivals:
    """Return the curve at `now`; `level` is what is in the system plus what was completed.

    At first sight the age of what waits is not known: it counts from then.
    """
    if arrivals is None:
        return Arrivals(level, 0, now, ((now, level),), _waiting_part((), now, level, waiting))
    recent = (*(point for point in arrivals.recent if point[0] > now - SETTLE_SECONDS), (now, level))[-RECENT_POINTS:]
    total, offset, peak_at = arrivals.total, arrivals.offset, arrivals.peak_at
    if offset + level >= total:
        total, peak_at = offset + level, now
    elif now - peak_at > SETTLE_SECONDS:
        offset, peak_at = total - max(sum_ for _, sum_ in recent), now
    return Arrivals(total, offset, peak_at, recent, _waiting_part(arrivals.curve, now, total, waiting))


def _waiting_part(
    curve: tuple[tuple[float, int], ...], now: float, total: int, waiting: int
) -> tuple[tuple[float, int], ...]:
    """Return the part of the curve above what has left the queue."""
    if not waiting:
        return ()
    if not curve or curve[-1][1] < total:
        curve = (*curve, (now, total))
    kept = tuple(point for point in curve if point[1] > total - waiting)
    return kept if len(kept) <= CURVE_POINTS else _thinned(kept)


def _thinned(curve: tuple[tuple[float, int], ...]) -> tuple[tuple[float, int], ...]:
    """Return about half of the points, evenly spread; the tasks of a point that goes count with the one before."""
    step = 2 * (curve[-1][0] - curve[0][0]) / CURVE_POINTS
    kept = [curve[0]]
    for at, total in curve[1:]:
        if at - kept[-1][0] < step:
            kept[-1] = (kept[-1][0], total)
        else:
            kept.append((at, total))
    return tuple(kept)
