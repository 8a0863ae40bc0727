"""`make bench-memory`: memory and CPU of the operator over many minutes of many pools with bursts, and a plot of it.

    uv run --frozen --group plot python -m tests.bench.scale.memory [--minutes 30] [--pools 1000] [--out docs/memory]

Writes OUT.csv with a line each five seconds, and OUT.svg. Bursts for 100 pools at once follow each other all the time,
and /metrics is scraped each 15 seconds, as Prometheus does it.
"""

import argparse
import csv
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from rich.console import Console

from tests.bench.scale import parts
from tests.bench.scale.figures import Figures, nearest_rank
from tests.bench.scale.usage import cpu_seconds, rss_mib, scrape
from tests.bench.scale.world import HERE, World, names, world
from tests.cluster.progress import step

SAMPLE_SECONDS, SCRAPE_SECONDS, PAUSE_SECONDS = 5.0, 15.0, 5.0


@dataclass(frozen=True)
class Sample:
    """One line of the table. `cpu`: % of a core since the line before. `bursts`: pools that had work so far."""

    seconds: float
    rss_mib: float
    cpu: float
    bursts: int


class Sampler:
    """Takes a sample each five seconds beside the bursts, and scrapes now and then."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._sample), threading.Thread(target=self._scrape)]
        self.samples: list[Sample] = []
        self.bursts = 0

    def __enter__(self) -> "Sampler":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _sample(self) -> None:
        pid, began = self._world.operator.pid, time.monotonic()
        before, used = began, cpu_seconds(pid)
        while not self._ended.wait(SAMPLE_SECONDS):
            now, spent = time.monotonic(), cpu_seconds(pid)
            share = 100 * (spent - used) / (now - before)
            self.samples.append(Sample(round(now - began, 1), round(rss_mib(pid), 1), round(share, 1), self.bursts))
            before, used = now, spent

    def _scrape(self) -> None:
        while not self._ended.wait(SCRAPE_SECONDS):
            scrape(self._world.operator)


def run(checkout: Path, pools: int, minutes: float) -> Sequence[Sample]:
    """Bursts for 100 pools by chance, one after the other, for so many minutes."""
    with world(checkout) as made:
        if not parts.create(made, Figures(pools), limit=900.0):
            raise SystemExit("not all pools were reconciled within 15 minutes")
        deadline = time.monotonic() + 60 * minutes
        with Sampler(made) as sampler, step(f"bursts for {minutes:g} minutes") as progress:
            while time.monotonic() < deadline:
                parts.burst(made, random.sample(names(pools), min(pools, parts.AT_ONCE)))
                sampler.bursts += min(pools, parts.AT_ONCE)
                progress.say(f"{sampler.bursts} bursts, {rss_mib(made.operator.pid):.0f} MiB")
                time.sleep(random.uniform(0, 2 * PAUSE_SECONDS))
    return sampler.samples


def write_table(file: Path, samples: Sequence[Sample]) -> None:
    """As CSV."""
    with file.open("w", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(field.name for field in fields(Sample))
        table.writerows([each.seconds, each.rss_mib, each.cpu, each.bursts] for each in samples)


def draw(file: Path, samples: Sequence[Sample], title: str) -> None:
    """Memory above, CPU below it."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "celeriac", "svg.fonttype": "none"}
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, sharex=True, figsize=(8, 4.5), layout="constrained")
    minutes = [each.seconds / 60 for each in samples]
    above.plot(minutes, [each.rss_mib for each in samples], linewidth=1)
    above.set(ylabel="RSS, MiB", ylim=(0, 1.2 * max(each.rss_mib for each in samples)), title=title)
    below.plot(minutes, [each.cpu for each in samples], linewidth=0.6)
    below.set(ylabel="CPU, % of a core", xlabel="minutes", ylim=(0, None))
    for axes in (above, below):
        axes.grid(alpha=0.3)
    figure.savefig(file, metadata={"Date": None})


def told(samples: Sequence[Sample]) -> str:
    """Whether it grows: the median of the last fifth against that of the fifth after the first."""
    fifth = max(1, len(samples) // 5)
    early, late = (sorted(each.rss_mib for each in part) for part in (samples[fifth : 2 * fifth], samples[-fifth:]))
    first, last = nearest_rank(early or late, 0.5), nearest_rank(late, 0.5)
    most = max(each.rss_mib for each in samples)
    return f"RSS {first:.0f} MiB in the second fifth, {last:.0f} in the last, {most:.0f} at most"


def main(given: argparse.Namespace) -> None:
    """Run, write, print."""
    samples = run(given.operator.resolve(), given.pools, given.minutes)
    write_table(given.out.with_suffix(".csv"), samples)
    title = f"{given.pools:,} pools, bursts for {parts.AT_ONCE} of them again and again: {samples[-1].bursts:,} in all"
    draw(given.out.with_suffix(".svg"), samples, title)
    Console().print(f"{told(samples)}; {given.out.with_suffix('.csv')}, {given.out.with_suffix('.svg')}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="of bursts, once all pools are there")
    parser.add_argument("--pools", type=int, default=1000, help="how many")
    parser.add_argument("--operator", type=Path, default=HERE, help="a checkout, synchronised by uv (default: this)")
    parser.add_argument("--out", type=Path, default=Path("docs/memory"), help="the files, without .csv and .svg")
    main(parser.parse_args())
