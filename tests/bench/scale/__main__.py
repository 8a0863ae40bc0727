"""`make bench-scale`: what pools by the hundred and the thousand cost, and how fast they react.

    python -m tests.bench.scale [--pools "1 100 1000"] [--operator CHECKOUT] [--out FILE.md]

A real API server (no nodes, no controllers), a real Redis and the operator as a process of its own, begun anew for each
number of pools. It asserts nothing: machines are noisy. The floor and the load of the machine stand beside the figures.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.bench.scale import parts
from tests.bench.scale.figures import Figures, read, write
from tests.bench.scale.table import ROWS, machine, markdown, shown
from tests.bench.scale.world import HERE, world

MANY = 2000
"""From so many pools on there are fewer runs, that the whole may end within some minutes."""


def measure(pools: int, checkout: Path, given: argparse.Namespace) -> Figures:
    """All parts for so many pools."""
    figures = Figures(pools)
    with world(checkout) as made:
        if parts.create(made, figures, given.creation_limit):
            parts.idle(made, figures, given.idle_seconds)
            if "reaction" in given.parts:
                parts.floor(made, figures)
                parts.one_among(made, figures, given.runs)
                if pools >= parts.AT_ONCE:
                    parts.many_at_once(made, figures, 3 if pools >= MANY else given.rounds)
            if "restart" in given.parts:
                parts.restart(made, figures)
        parts.end(made, figures)
    if "brokers" in given.parts and pools == parts.AT_ONCE:
        _hanging_brokers(figures, checkout, given)
    return figures


def _hanging_brokers(figures: Figures, checkout: Path, given: argparse.Namespace) -> None:
    """The same pools again, dealt out to many brokers."""
    with world(checkout, parts.BROKERS) as made:
        if parts.create(made, other := Figures(figures.pools), given.creation_limit):
            parts.hanging_brokers(made, other, given.runs, given.rounds)
        parts.end(made, other)
    figures.values["brokers warnings"] = other.values["warnings"]
    figures.values |= {name: value for name, value in other.values.items() if "brokers" in name}


def main(given: argparse.Namespace) -> None:
    """Run and print; what was measured so far is printed and written after each number of pools."""
    console = Console(width=max(160, Console().width))
    checkout = given.operator.resolve()
    columns = read(given.json, "now") if given.json else {}
    for pools in given.pools:
        began = time.monotonic()
        columns[pools] = measure(pools, checkout, given)
        console.print(f"{pools:,} pools: {time.monotonic() - began:.0f} s for all parts")
        if given.json:
            write(given.json, [columns[key] for key in sorted(columns)])
    before = read(given.before, "before") if given.before else {}
    table = [known[key] for key in sorted(before | columns) for known in (before, columns) if key in known]
    console.print(shown(table, ROWS, "Celeriac among so many pools of 4 queues"))
    if given.out:
        given.out.write_text(f"{time.strftime('%Y-%m-%d')}; {machine()}\n\n{markdown(table, ROWS)}")


def numbers(text: str) -> Sequence[int]:
    """Several in one argument, as a variable of make has them."""
    return [int(word) for word in text.split()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", type=numbers, default=[1, 100, 1000, 5000], help="how many, one run for each")
    parser.add_argument("--operator", type=Path, default=HERE, help="a checkout, synchronised by uv (default: this)")
    parser.add_argument("--out", type=Path, help="write the table as markdown to this file too")
    parser.add_argument(
        "--json", type=Path, help="keep the figures in this file, beside those of other numbers of pools"
    )
    parser.add_argument("--before", type=Path, help="such a file of another operator, to stand beside in the table")
    parser.add_argument("--runs", type=int, default=30, help="bursts for one pool among all")
    parser.add_argument("--rounds", type=int, default=5, help="bursts for 100 pools at once")
    parser.add_argument("--idle-seconds", type=float, default=30.0, help="how long the idle operator is watched")
    parser.add_argument("--creation-limit", type=float, default=600.0, help="seconds after which nobody waits any more")
    parser.add_argument("--parts", default="reaction restart brokers", help="beside creation and idle")
    main(parser.parse_args())
