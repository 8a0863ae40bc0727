"""Families of metrics that have a few series for each pool: plain values, which become samples only in a scrape.

A pool has some sixty of them, and there are thousands of pools. A child of prometheus_client's own metrics, with its
lock, takes 0.7 KB, and a lookup by its labels in each tick.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final, Generic, TypeVar

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from celeriac.api.keys import PoolKey

POOL: Final = ("namespace", "pool")
CONDITION_STATUSES: Final = ("True", "False", "Unknown")
V = TypeVar("V")
_number: Callable[[float], str] = floatToGoString  # without types in the library


class PoolMetric(Metric):
    """A family on its way into a text: `lines` has the same samples as it does, as both formats write them.

    prometheus_client takes 20 us for a line, as it looks at each name and each label anew; there are 80 lines a pool.
    """

    def __init__(self, name: str, text: str, type_: str, lines: Callable[[], Iterator[str]]) -> None:
        super().__init__(name, text, type_)
        self.lines = lines


def _escaped(value: str) -> str:
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return value


class PoolFamily(Collector, ABC, Generic[V]):
    """One family. A scrape reads it in a thread of its own, from copies that the interpreter makes in one step."""

    type: ClassVar = "gauge"

    def __init__(self, registry: CollectorRegistry, name: str, text: str, *labels: str) -> None:
        """`labels`: those beside the pool's."""
        self._name = name
        self._text = text
        self._labels = (*POOL, *labels)
        self._of: dict[PoolKey, V] = {}
        registry.register(self)

    def put(self, key: PoolKey, value: V) -> None:
        """Say all of a pool anew."""
        self._of[key] = value

    def forget(self, key: PoolKey) -> None:
        """Remove all series of a pool."""
        self._of.pop(key, None)

    def clear(self) -> None:
        """Remove all series."""
        self._of.clear()

    def describe(self) -> Iterable[Metric]:
        """The family without its samples, by which a registry knows its names."""
        return [Metric(self._name, self._text, self.type)]

    def collect(self) -> Iterable[Metric]:
        """The family with its samples, made while they are read."""
        metric = PoolMetric(self._name, self._text, self.type, self._lines)
        samples: Any = self._samples()
        metric.samples = samples
        return [metric]

    def _lines(self) -> Iterator[str]:
        for sample in self._samples():
            labels = ",".join([f'{name}="{_escaped(value)}"' for name, value in sorted(sample.labels.items())])
            yield f"{sample.name}{{{labels}}} {_number(sample.value)}\n"

    def _samples(self) -> Iterator[Sample]:
        for key, value in list(self._of.items()):
            yield from self._samples_of(key, value)

    @abstractmethod
    def _samples_of(self, key: PoolKey, value: V) -> Iterator[Sample]:
        """All that a scrape is told of one pool."""


class PoolSeries(PoolFamily[V]):
    """A family of gauges or counters: one number for each series."""

    def _samples_of(self, key: PoolKey, value: V) -> Iterator[Sample]:
        for more, number in self._series(value):
            yield Sample(self._series_name, dict(zip(self._labels, (*key, *more), strict=True)), number)

    def _lines(self) -> Iterator[str]:
        # In the order of prometheus_client, which is that of the alphabet.
        places = sorted(range(len(self._labels)), key=self._labels.__getitem__)
        labels = ",".join(f'{self._labels[place]}="%s"' for place in places)
        line = f"{self._series_name}{{{labels}}} %s\n"
        for key, value in list(self._of.items()):
            for more, number in self._series(value):
                values = [_escaped(each) for each in (*key, *more)]
                yield line % (*[values[place] for place in places], _number(number))

    @property
    def _series_name(self) -> str:
        return f"{self._name}_total" if self.type == "counter" else self._name

    @abstractmethod
    def _series(self, value: V) -> Iterable[tuple[tuple[str, ...], float]]:
        """The values of the other labels, and the number, of each series of one pool."""


class PoolGauge(PoolSeries[float]):
    """A gauge of each pool."""

    def set(self, key: PoolKey, value: float | None) -> None:
        """Say it; None: it is not known, and has no series."""
        if value is None:
            self.forget(key)
        else:
            self._of[key] = value

    def _series(self, value: float) -> Iterable[tuple[tuple[str, ...], float]]:
        return [((), value)]


class PoolCounter(PoolGauge):
    """A counter of each pool."""

    type = "counter"

    def add(self, key: PoolKey, number: float) -> None:
        """Count so many more."""
        self._of[key] = self._of.get(key, 0) + number


class PoolGauges(PoolSeries[Mapping[str, float]]):
    """Gauges of each pool, by one label."""

    def set(self, key: PoolKey, values: Mapping[str, float]) -> None:
        """Say all of them; one that is not among them any more has no series."""
        if values:
            self._of[key] = values
        else:
            self.forget(key)

    def _series(self, value: Mapping[str, float]) -> Iterable[tuple[tuple[str, ...], float]]:
        return [((label,), number) for label, number in value.items()]


class PoolCounters(PoolSeries[dict[str, float]]):
    """Counters of each pool, by one label."""

    type = "counter"

    def add(self, key: PoolKey, label: str, number: float) -> None:
        """Count so many more; 0: let the series begin."""
        counts = self._of.setdefault(key, {})
        counts[label] = counts.get(label, 0) + number

    def _series(self, value: dict[str, float]) -> Iterable[tuple[tuple[str, ...], float]]:
        return [((label,), number) for label, number in list(value.items())]


class PoolConditions(PoolSeries[dict[str, str]]):
    """The status of each condition of each pool, as one gauge for each that it may have."""

    def set(self, key: PoolKey, type_: str, status: str) -> None:
        """Say the status of one condition."""
        self._of.setdefault(key, {})[type_] = status

    def _series(self, value: dict[str, str]) -> Iterable[tuple[tuple[str, ...], float]]:
        for type_, status in list(value.items()):
            for each in CONDITION_STATUSES:
                yield (type_, each), float(each == status)
