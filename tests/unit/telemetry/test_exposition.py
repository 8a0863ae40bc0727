"""The text of pools' metrics is written without prometheus_client's encoder, and says the same."""

import asyncio
import gzip

import pytest
from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.brokers.readings import QueueReading
from celeriac.brokers.task_counts import BUCKETS, WAITED
from celeriac.telemetry.exposition import Exposition, Form
from celeriac.telemetry.metrics import Direction, Metrics

pytestmark = pytest.mark.unit

ODD = ('quo"ted', "back\\slash", "two\nlines", "no end\\", "Größe", "{a=b}", "a,b", "")
OPEN = "application/openmetrics-text; version=1.0.0"


def filled() -> Metrics:
    """Every family has series, with whatever may stand in a label."""
    metrics = Metrics()
    for key in (PoolKey("shop", "ml"), PoolKey("bank", "ml")):
        metrics.pool(key, desired=4, replicas=3, ready=2, slots=12, running=None, stuck=1)
        metrics.queues(key, {name: QueueReading(waiting=10**9, held=1, dead=3) for name in ODD})
        for type_, status in (("Ready", "True"), ("Stalled", "False"), ("BrokerReachable", "Unknown")):
            metrics.condition(key, type_, status)
        metrics.decision(key, Reason.BACKLOG)
        metrics.scale(key, Direction.UP, 3)
        metrics.missing_hooks(key, dict.fromkeys(ODD, 2))
        rows = {name: tuple(range(start, start + WAITED + BUCKETS + 1)) for start, name in enumerate(ODD)}
        metrics.tasks(key, rows)
        figures = {"runtime_seconds": 1e-7, "arrival_rate": 1234567.875, "oldest_seconds": float("inf"), "silent": 0}
        metrics.workers(key, figures)
    return metrics


def told(families: list[Metric]) -> dict[str, tuple[str, str, set[tuple[str, tuple[tuple[str, str], ...], float]]]]:
    """All that a text says, whatever its order; but of this process itself, of which each text says something else."""
    return {
        each.name: (
            each.type,
            each.documentation,
            {(it.name, tuple(sorted(it.labels.items())), it.value) for it in each.samples},
        )
        for each in families
        if not each.name.startswith(("process_", "python_"))
    }


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("open_metrics", [False, True])
async def test_it_says_what_prometheus_clients_own_would(open_metrics: bool, gzipped: bool) -> None:
    metrics = filled()
    exposition = Exposition(metrics.registry)
    text = await exposition.text(Form(open_metrics, gzipped))
    exposition.close()
    body = gzip.decompress(text.body) if gzipped else text.body
    encode, content_type = choose_encoder(OPEN if open_metrics else "")
    read = parse_open_metrics if open_metrics else parse
    theirs_text = encode(metrics.registry).decode()
    lines = {line for line in theirs_text.splitlines() if line.startswith(("celeriac_", "celery_"))}
    assert lines - set(body.decode().splitlines()) == set(), "labels stand in the same order"
    ours, theirs = told(list(read(body.decode()))), told(list(read(theirs_text)))
    assert ours == theirs
    assert text.content_type == content_type
    assert len([name for name in ours if name.startswith(("celeriac_", "celery_"))]) > 50
    assert len(ours["celeriac_queue_waiting_tasks"][2]) == 2 * len(ODD)


async def test_the_loop_goes_on_while_the_text_of_many_pools_is_written() -> None:
    metrics = Metrics()
    for number in range(300):
        metrics.queues(PoolKey("shop", f"pool-{number}"), {f"q{each}": QueueReading(1) for each in range(20)})
    writing = asyncio.create_task(Exposition(metrics.registry).text(Form(False, False)))
    turns = 0
    while not writing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 5
