"""The text of all metrics, written once for all who ask at about the same time."""

import asyncio
import gzip
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.registry import Collector

from celeriac.telemetry.series import PoolMetric

FRESH_SECONDS: Final = 1.0
"""So old a text may be. One that took long to write may be `SHARE` times as old as that took."""
SHARE: Final = 3.0
BREATH_SAMPLES: Final = 100
BREATH_LINES: Final = 1000
BREATH_SECONDS: Final = 0.001
"""After so many samples, or lines of pools, the writing thread lets the event loop go on: each is some 2 ms of work.
Without it each step of the tick waited 11 ms for the interpreter in that time, with it 4 ms (measured)."""
GZIP_LEVEL: Final = 3
_OPEN_METRICS: Final = "application/openmetrics-text"


class Form(NamedTuple):
    """In which form a text is asked for. There are four, whatever a request says: each of them is kept."""

    open_metrics: bool
    gzipped: bool


@dataclass(frozen=True, slots=True)
class Text:
    """What is answered, and until when (monotonic seconds) it may be answered to others."""

    body: bytes
    content_type: str
    fresh_until: float


def form(accept: str, accept_encoding: str) -> Form:
    """The form that the headers of a request ask for."""
    return Form(_OPEN_METRICS in accept, gzip_accepted(accept_encoding))


class Exposition:
    """Writes the metrics of a registry in a thread of its own, one text at a time."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._thread = ThreadPoolExecutor(1, "metrics")
        self._texts: dict[Form, Text] = {}
        self._writing: dict[Form, asyncio.Task[Text]] = {}

    async def text(self, asked: Form) -> Text:
        """A text that is fresh; all who ask while it is written get the same."""
        known = self._texts.get(asked)
        if known is not None and time.monotonic() < known.fresh_until:
            return known
        task = self._writing.get(asked)
        if task is None:
            task = self._writing[asked] = asyncio.create_task(self._write(asked))
            task.add_done_callback(lambda _: self._writing.pop(asked))
        return await asyncio.shield(task)  # who goes away takes it from nobody

    def close(self) -> None:
        """Begin no further text."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _write(self, asked: Form) -> Text:
        text = await asyncio.get_running_loop().run_in_executor(self._thread, self._written, asked)
        self._texts[asked] = text
        asyncio.get_running_loop().call_later(text.fresh_until - time.monotonic(), self._let_go, asked, text)
        return text

    def _let_go(self, asked: Form, text: Text) -> None:
        """It is not fresh any more, and nobody gets it again: for 1,000 pools it has 9 MiB."""
        if self._texts.get(asked) is text:
            del self._texts[asked]

    def _written(self, asked: Form) -> Text:
        """In the thread."""
        began = time.monotonic()
        encode, content_type = choose_encoder(f"{_OPEN_METRICS}; version=1.0.0" if asked.open_metrics else "")
        families = list(self._registry.collect())
        of_pools = [_text(each, asked) for each in families if isinstance(each, PoolMetric)]
        # What prometheus_client writes comes last: OpenMetrics says where the text ends.
        body = b"".join([*of_pools, encode(_Breathing(each for each in families if not isinstance(each, PoolMetric)))])
        if asked.gzipped:
            body = gzip.compress(body, GZIP_LEVEL)
        ended = time.monotonic()
        return Text(body, content_type, ended + max(FRESH_SECONDS, SHARE * (ended - began)))


def _text(metric: PoolMetric, asked: Form) -> bytes:
    """One family of pools. OpenMetrics names a counter without its `_total` where it says what it is."""
    name = metric.name if asked.open_metrics or metric.type != "counter" else f"{metric.name}_total"
    lines = [f"# HELP {name} {metric.documentation}\n# TYPE {name} {metric.type}\n"]
    for number, line in enumerate(metric.lines(), 1):
        lines.append(line)
        if number % BREATH_LINES == 0:
            time.sleep(BREATH_SECONDS)
    return "".join(lines).encode()


class _Breathing(Collector):
    """Metrics whose samples come with pauses."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        for metric in self._metrics:
            samples: Any = _with_pauses(metric.samples)
            metric.samples = samples
            yield metric


def _with_pauses(samples: Iterable[Any]) -> Iterator[Any]:
    for number, sample in enumerate(samples, 1):
        if number % BREATH_SAMPLES == 0:
            time.sleep(BREATH_SECONDS)
        yield sample
