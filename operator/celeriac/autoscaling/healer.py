"""Which worker is started anew because it takes nothing although tasks wait for it; in virtual time, it writes nothing.

Celery's consumers are known to fetch nothing more after a lost connection, while their process goes on (celery issues
8091 and 10205). Such a worker is told to stop through the broker, as `celeriac.autoscaling.drain_marker` says: it gives
back what it has not started, ends what runs, and the kubelet starts its container anew, in the same Pod.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from celeriac.cluster.records import PodRecord
from celeriac.workers.responses import Responses
from celeriac.workers.worker import STOPPING, Worker, Workers, restarting

PAUSE_SECONDS: Final = 60.0
"""Between two workers of a pool."""
HOUR_SECONDS: Final = 3600.0
MOST_IN_AN_HOUR: Final = 6
"""Workers of a pool that are started anew."""
STOP_SECONDS: Final = 60.0
"""A worker that has not begun to stop for so long cannot."""
VAIN: Final = 2
"""After so many of them that took nothing afterwards either, the cause is another one."""

Stop = tuple[tuple[PodRecord, str], ...]


@dataclass(frozen=True, slots=True)
class Healing:
    """What is to be done now, and what is told.

    stop     workers to be told to stop: their Pods, and which start of the worker is meant
    release  Pods whose mark has done its work
    begun    names of Pods whose worker is told to stop from now on
    why_not  why nobody is started anew although somebody takes nothing; None: somebody is, or will be soon
    tries    workers that were started anew within the last hour, and how many of them in vain
    """

    stop: Stop = ()
    release: tuple[PodRecord, ...] = ()
    begun: tuple[str, ...] = ()
    why_not: str | None = None
    tries: int = 0
    vain: int = 0


@dataclass(slots=True)
class _Try:
    """One worker that is started anew: which start was told to stop, and when.

    heard   it has begun to stop, or cannot: its mark has done its work
    over    it is gone
    helped  its successor took something
    """

    uid: str
    process: str
    at: float
    heard: bool = False
    over: bool = False
    helped: bool = False


class Healer:
    """Remembers whom it has had started anew; one worker of a pool at a time.

    What the leader before has told of its tries counts as if it had been now, so that the limits outlast an operator
    that is restarted; and whom that one has told to stop is still to stop.
    """

    def __init__(self, now: float, tries: int = 0, vain: int = 0) -> None:
        vain = min(vain, VAIN)
        earlier = min(max(tries, vain), MOST_IN_AN_HOUR)
        self._tries = [_Try("", "", now, heard=True, over=True, helped=number >= vain) for number in range(earlier)]
        self._is_new = True

    def rest(self, workers: Workers) -> Healing | None:
        """Nobody is to be started anew now; None where nobody was about to be."""
        self._tries.clear()
        release = tuple(each.pod for each in workers.all if restarting(each.pod) is not None)
        return Healing(release=release) if release else None

    def step(self, workers: Workers, responses: Responses, now: float) -> Healing:
        """Look at the workers after one reading; `now` is in monotonic seconds."""
        by_uid = {worker.pod.uid: worker for worker in workers.all}
        if self._is_new:
            self._is_new = False
            told = [(each.pod.uid, restarting(each.pod)) for each in workers.all]
            self._tries += [_Try(uid, process, now) for uid, process in told if process is not None]
        self._tries = [each for each in self._tries if now - each.at < HOUR_SECONDS]
        for each in self._tries:
            self._follow(each, by_uid.get(each.uid), now)
        current = [each for each in self._tries if not each.heard]
        marked = {each.uid: by_uid[each.uid].pod for each in current}
        release = tuple(
            each.pod for each in workers.all if restarting(each.pod) is not None and each.pod.uid not in marked
        )
        if current:
            return self._healing(tuple((marked[each.uid], each.process) for each in current), release)
        chosen = self._choose(by_uid, responses, now)
        if not isinstance(chosen, Worker) or chosen.report is None:
            return self._healing((), release, why_not=chosen if isinstance(chosen, str) else None)
        self._tries.append(_Try(chosen.pod.uid, chosen.report.process, now))
        return self._healing(((chosen.pod, chosen.report.process),), release, begun=(chosen.pod.name,))

    def _healing(self, stop: Stop, release: tuple[PodRecord, ...], **told: Any) -> Healing:
        vain = sum(each.over and not each.helped for each in self._tries)
        return Healing(stop, release, tries=len(self._tries), vain=vain, **told)

    def _follow(self, tried: _Try, worker: Worker | None, now: float) -> None:
        report = worker.report if worker is not None and not worker.pod.terminating else None
        tried.over |= report is None or report.process != tried.process
        tried.heard |= tried.over or now - tried.at >= STOP_SECONDS
        if report is not None:
            tried.heard |= report.state == STOPPING
            tried.helped |= report.process != tried.process and bool(report.delivered or report.processed)

    def _choose(self, by_uid: Mapping[str, Worker], responses: Responses, now: float) -> Worker | str | None:
        """The next one, None where it is not yet time, or why it is nobody's turn."""
        lapses = [each for each in responses.not_fetching if not each.unstarted]
        if not lapses:
            return None
        vain = sum(not each.helped for each in self._tries)
        everybody = len(responses.not_fetching) >= responses.judged
        if vain >= VAIN or (vain and everybody):
            return f"{vain} of them were started anew in vain"
        if len(self._tries) >= MOST_IN_AN_HOUR:
            return f"{len(self._tries)} of them were started anew within an hour"
        if any(now - each.at < PAUSE_SECONDS or not each.over for each in self._tries):
            return None
        tried = {each.uid for each in self._tries}
        names = {each.pod: each for each in lapses}
        able = [each for uid, each in by_uid.items() if each.pod.name in names and uid not in tried and _is_able(each)]
        if not able:
            return "they cannot be told to stop, have another reason (ETA tasks, a full broker), or were started anew"
        return max(able, key=lambda each: (names[each.pod.name].seconds, each.pod.name))


def _is_able(worker: Worker) -> bool:
    """Whether it can be told to stop, and nothing else explains why it fetches nothing.

    An app may limit its ETA tasks, and a broker refuse to take down what is fetched.
    """
    report = worker.report
    if report is None or not worker.is_replica or report.signals is False:
        return False
    return not report.scheduled and not report.refusal
