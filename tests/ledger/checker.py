"""The verdict on a ledger. Pure: it reads the lines, and knows no operator, no agent and no Celery."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.ledger.lines import Event, Line

SHOWN = 3
KEPT_KEYS = re.compile(
    r"_kombu\.binding|celery-task-meta-|celeriac:pools|celeriac:[^:]+:tasks$|[0-9a-f-]{36}\.reply\.celery\.pidbox$"
)
"""How the keys begin that may remain in Redis: bindings, results, the registry of pools, counts of tasks, and what a
worker answered too late to another that had just started (mingle; before kombu 5.7 such an answer never expires)."""


@dataclass(frozen=True)
class Demand:
    """How much scaling a run must have seen to prove anything.

    loaded     share of the scale-downs that must have come while workers ran tasks and held others
    prefetches whether the workers can hold messages that they have not started: solo runs what it receives at once,
               so that for it a running task is all that a worker can hold
    """

    ups: int = 6
    downs: int = 6
    loaded: float = 0.3
    prefetches: bool = True


@dataclass(frozen=True)
class Verdict:
    """The account of one run; tuples hold ids of tasks, or keys.

    lost     sent, and never ended
    twice    started or ended more than once
    killed   started in a pod that has gone since, without an end
    unsent   ran though nobody sent it
    left     keys that remain in Redis and should not
    """

    sent: int
    ended: int
    ups: int
    downs: int
    loaded: int
    drained: int
    lost: tuple[str, ...] = ()
    twice: tuple[str, ...] = ()
    killed: tuple[str, ...] = ()
    unsent: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(default=())


def judge(lines: Iterable[Line], demand: Demand) -> Verdict:
    """Settle a ledger whose pool is back at zero; `problems` is empty when all is well and enough was demanded."""
    ordered = sorted(lines, key=lambda line: line.time)
    scaling = _scaling(ordered, demand)
    sent = {line.task for line in ordered if line.event is Event.SENT}
    starts = Counter(line.task for line in ordered if line.event is Event.STARTED)
    ends = Counter(line.task for line in ordered if line.event is Event.ENDED)
    found = {
        "lost": sent - ends.keys(),
        "twice": {task for counts in (starts, ends) for task, times in counts.items() if times > 1},
        "killed": _killed(ordered),
        "unsent": (starts.keys() | ends.keys()) - sent,
        "left": {line.key for line in ordered if line.event is Event.LEFT and not KEPT_KEYS.match(line.key)},
    }
    problems = [f"{len(those)} {kind}: {_some(those)}" for kind, those in found.items() if those]
    problems += _not_demanding(scaling, demand)
    return Verdict(
        sent=len(sent),
        ended=len(ends.keys() & sent),
        ups=scaling.ups,
        downs=scaling.downs,
        loaded=scaling.loaded,
        drained=sum(line.event is Event.MARKED for line in ordered),
        problems=tuple(problems if sent else ["nothing was sent", *problems]),
        **{kind: tuple(sorted(those)) for kind, those in found.items()},
    )


def _killed(lines: Sequence[Line]) -> set[str]:
    """Tasks with an execution, told by pod and process, that has a start and no end although its pod is gone."""
    gone = {line.pod for line in lines if line.event is Event.GONE}
    open_ = Counter[tuple[str, str, int]]()
    for line in lines:
        if line.event is Event.STARTED:
            open_[line.task, line.pod, line.pid] += 1
        elif line.event is Event.ENDED:
            open_[line.task, line.pod, line.pid] -= 1
    return {task for (task, pod, _pid), count in open_.items() if count > 0 and pod in gone}


@dataclass(slots=True)
class _Scaling:
    """What the pool did, step by step: `running` and `held` are tasks and the pods that have them.

    steps     for each scale-down whether it was one under load
    chosen    pods that were marked to go while the pool was under load
    """

    prefetches: bool
    ups: int = 0
    steps: list[bool] = field(default_factory=list)
    chosen: set[str] = field(default_factory=set)
    running: dict[str, str] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)

    @property
    def downs(self) -> int:
        return len(self.steps)

    @property
    def loaded(self) -> int:
        return sum(self.steps)

    def see(self, line: Line) -> None:
        match line.event:
            case Event.RECEIVED:
                self.held[line.task] = line.pod
            case Event.STARTED:
                self.held.pop(line.task, None)
                self.running[line.task] = line.pod
            case Event.ENDED:
                self.running.pop(line.task, None)
            case Event.MARKED:
                if self._busy():
                    self.chosen.add(line.pod)
                self._give_back(line.pod)
            case Event.UNMARKED:
                self.chosen.discard(line.pod)
            case Event.DELETED:
                self._give_back(line.pod)
                if self.steps and line.pod in self.chosen:
                    self.steps[-1] = True
            case Event.GONE:
                self._give_back(line.pod)
                self.running = {task: pod for task, pod in self.running.items() if pod != line.pod}
            case Event.SCALED:
                self._scaled(line)

    def _scaled(self, line: Line) -> None:
        if line.after > line.before:
            self.ups += 1
        elif line.after < line.before:
            self.steps.append(self._busy())

    def _busy(self) -> bool:
        """Whether the workers run tasks and hold others, as far as they can."""
        return bool(self.running and (self.held or not self.prefetches))

    def _give_back(self, pod: str) -> None:
        """A worker that is to go holds nothing any more, or soon; to count it at once errs on the strict side."""
        self.held = {task: holder for task, holder in self.held.items() if holder != pod}


def _scaling(lines: Iterable[Line], demand: Demand) -> _Scaling:
    scaling = _Scaling(demand.prefetches)
    for line in lines:
        scaling.see(line)
    return scaling


def _not_demanding(scaling: _Scaling, demand: Demand) -> list[str]:
    problems = []
    if scaling.ups < demand.ups:
        problems.append(f"only {scaling.ups} scale-ups, {demand.ups} are needed to prove anything")
    if scaling.downs < demand.downs:
        problems.append(f"only {scaling.downs} scale-downs, {demand.downs} are needed to prove anything")
    if scaling.loaded < demand.loaded * scaling.downs:
        problems.append(f"only {scaling.loaded} of {scaling.downs} scale-downs under load, {demand.loaded:.0%} needed")
    return problems


def _some(those: Iterable[str]) -> str:
    ordered = sorted(those)
    rest = len(ordered) - SHOWN
    return ", ".join(ordered[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
