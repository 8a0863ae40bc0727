"""One cell: send its waves, follow the pool through all of them, settle the book."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.target import Target
from tests.ledger.cells import Cell
from tests.ledger.checker import Demand, Verdict, judge
from tests.ledger.lines import Event, Line
from tests.ledger.load import Load, Then, Wave
from tests.ledger.scene import Scene, all_over, scene

POOL = "ledger"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Settled:
    """A cell with its verdict; `file` is its book, `seconds` what it took."""

    cell: Cell
    verdict: Verdict
    seconds: float
    file: Path

    @property
    def problems(self) -> tuple[str, ...]:
        """What speaks against the cell."""
        return self.verdict.problems


def run(cluster: Target, cell: Cell, load: Load, seed: str, directory: Path, demand: Demand, say: Say) -> Settled:
    """Put one cell through its load; raises only what keeps the cell from beginning or being settled."""
    began = time.monotonic()
    file = directory / f"{cell.name}.jsonl"
    with scene(cluster, file) as running:
        running.pool(POOL, image=cell.image.tag, environment=cell.environment(), **cell.spec())
        for number, wave in enumerate(load.sent(f"{seed} {cell.name}"), start=1):
            sent_at = time.time()
            running.send(wave.seconds)
            came = running.book.wait(lambda lines, w=wave, t=sent_at: _passed(lines, w, t), load.patience)  # type: ignore[misc]
            say(_progress(cell, running, number, load, came))
            if not came:
                break
        running.close()
        evidence(running, directory / cell.name)
        return Settled(cell, judge(running.book.lines(), demand), time.monotonic() - began, file)


def _passed(lines: Sequence[Line], wave: Wave, since: float) -> bool:
    """Whether what this wave was sent for has come about."""
    scalings = [line for line in lines if line.event is Event.SCALED]
    at_zero = bool(scalings) and not scalings[-1].after and all_over(lines) and _pods_gone(lines)
    if wave.then is Then.EBB:
        return at_zero
    shrinks = any(line.after < line.before and line.time > since for line in scalings)
    return at_zero or shrinks or any(line.event is Event.MARKED and line.time > since for line in lines)


def _pods_gone(lines: Sequence[Line]) -> bool:
    """Whether every pod that was to go has gone."""
    gone = {line.pod for line in lines if line.event is Event.GONE}
    return all(line.pod in gone for line in lines if line.event is Event.DELETED)


def _progress(cell: Cell, running: Scene, number: int, load: Load, came: bool) -> str:
    lines = running.book.lines()
    scalings = [line for line in lines if line.event is Event.SCALED]
    ups = sum(line.after > line.before for line in scalings)
    counts = f"{running.book.count(Event.ENDED)} of {running.book.count(Event.SENT)} ended"
    stuck = "" if came else f"; stuck for {load.patience:.0f} s"
    return f"{cell.name}: wave {number} of {load.waves}, {counts}, {ups} up, {len(scalings) - ups} down{stuck}"


def evidence(running: Scene, directory: Path) -> None:
    """What a person would look at after a failure: the objects, the events and the workers' logs that are left."""
    directory.mkdir(parents=True, exist_ok=True)
    story = running.story
    (directory / "objects.txt").write_text(story.kubectl("get", "cwp,deployments,pods", "--output=wide"))
    (directory / "pool.yaml").write_text(story.kubectl("get", "cwp", "--output=yaml"))
    (directory / "events.txt").write_text(story.kubectl("get", "events", "--sort-by=.lastTimestamp"))
