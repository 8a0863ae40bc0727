"""What is sent to a cell: waves of tasks of very different lengths, the same ones for the same seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

SHORTEST, LONGEST = 0.05, 20.0


class Then(Enum):
    """What the driver waits for before it sends the next wave."""

    EBB = "the pool is back at zero"
    SURGE = "a worker is to go while others still run tasks"


@dataclass(frozen=True)
class Wave:
    """Tasks that are sent at once, by their seconds."""

    seconds: tuple[float, ...]
    then: Then


@dataclass(frozen=True)
class Load:
    """`tasks` in `waves`; of each wave `long_share` last half of `longest` seconds or more, a quarter a few seconds.

    A pool that takes longer than `patience` seconds for one wave and all that follows from it is stuck.
    """

    tasks: int = 300
    waves: int = 6
    long_share: float = 0.06
    longest: float = LONGEST
    patience: float = 240.0

    def sent(self, seed: str) -> Iterator[Wave]:
        """The waves; every second one is followed while the pool still shrinks from it."""
        numbers = random.Random(seed)
        for wave in range(self.waves):
            count = self.tasks // self.waves + (wave < self.tasks % self.waves)
            seconds = [self._seconds(numbers, place / count) for place in range(count)]
            numbers.shuffle(seconds)
            last = wave == self.waves - 1
            yield Wave(tuple(seconds), Then.SURGE if wave % 2 == 0 and not last else Then.EBB)

    def _seconds(self, numbers: random.Random, place: float) -> float:
        """The length of the task at this place (0 to 1) of a wave, before it is shuffled."""
        if place == 0:
            return SHORTEST
        if place >= 1 - self.long_share:
            return round(numbers.uniform(self.longest / 2, self.longest), 2)
        if place >= 0.75 - self.long_share:
            return round(numbers.uniform(1, self.longest / 5), 2)
        return round(numbers.uniform(SHORTEST, 0.6), 2)
