"""What was measured, as values: numbers by name, and samples of seconds with those that never came."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.scale.usage import load

Value = float | str
"""A text stands where no number can, and meets no goal: what was not reached in time, and how much of it was."""


@dataclass
class Figures:
    """Of one number of pools, by the names of table.py."""

    pools: int
    values: dict[str, Value] = field(default_factory=dict)
    of: str = ""
    """Which operator it was, where there are several in one table."""

    @property
    def title(self) -> str:
        """Of the column."""
        return f"{self.pools:,} {self.of}".strip()

    def sample(self, name: str, seconds: Sequence[float], wanted: int, limit: float) -> None:
        """The quantiles of what was measured; where some never came, the highest say so."""
        self.values[f"{name} n"] = float(wanted)
        never = f"> {limit:.0f} ({wanted - len(seconds)} of {wanted} never)"
        padded = [*sorted(seconds), *[math.inf] * (wanted - len(seconds))]
        for share, label in ((0.5, "p50"), (0.99, "p99"), (1.0, "max")):
            value = nearest_rank(padded, share)
            self.values[f"{name} {label}"] = never if math.isinf(value) else value

    @contextmanager
    def under_load(self, part: str) -> Iterator[None]:
        """Note the load of the machine, mean of a minute, before and after a part."""
        before = load()
        yield
        self.values[f"load {part}"] = f"{before:.1f} to {load():.1f}"


def nearest_rank(ordered: Sequence[float], share: float) -> float:
    """The smallest of the values that at least this share does not exceed; p99 of fewer than 100 is the slowest."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def since(start: float, moments: Mapping[str, float]) -> list[float]:
    """Seconds from the start until each moment."""
    return [moment - start for moment in moments.values()]


def write(file: Path, columns: Sequence[Figures]) -> None:
    """Keep them for a table of several runs."""
    file.write_text(json.dumps({str(figures.pools): figures.values for figures in columns}, indent=1) + "\n")


def read(file: Path, of: str = "") -> dict[int, Figures]:
    """What `write` kept, by the number of pools; nothing where there is no such file."""
    kept = json.loads(file.read_text()) if file.exists() else {}
    return {int(pools): Figures(int(pools), values, of) for pools, values in kept.items()}
