"""What Prometheus has scraped, as promtool's tests write it: two replicas, calm pools, and what differs from that.

One sample every 15 s: `"1x40 stale"` is 1 for ten minutes, and then the series has ended; `_` is a scrape without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

SCRAPES: Final = 400
OPERATOR: Final = 'job="celeriac-metrics", namespace="celeriac"'

Series = Mapping[str, str]


def steady(value: float) -> str:
    """The same value in every scrape."""
    return f"{value:g}x{SCRAPES}"


def counting(step: float, start: float = 0) -> str:
    """A counter that grows by so much from scrape to scrape."""
    return f"{start:g}+{step:g}x{SCRAPES}"


def operator(instance: str, *, leads: str = "", ticks: str = "") -> dict[str, str]:
    """One replica; it leads and makes 30 ticks from scrape to scrape if nothing else is said."""
    labels = f'{{{OPERATOR}, instance="{instance}"}}'
    return {
        f"celeriac_leader{labels}": leads or steady(1),
        f"celeriac_tick_duration_seconds_count{labels}": ticks or counting(30),
    }


TWO_REPLICAS: Final = operator("a") | operator("b", leads=steady(0), ticks=steady(0))


def pool(namespace: str = "shop", name: str = "ml", instance: str = "a", **series: str | None) -> dict[str, str]:
    """A pool that is as it should be, but for `series`; None leaves one out."""
    calm = {
        "unreadable": steady(0),
        "stalled": steady(0),
        "oldest": steady(0),
        "target": steady(10),
        "desired": steady(2),
        "ready": steady(2),
        "decision": steady(1),
        "drain": steady(0),
        "silent": steady(0),
        "not_fetching": steady(0),
        "degraded": steady(0),
        "dead": steady(0),
        "succeeded": counting(10),
        "failed": steady(0),
    }
    unknown = series.keys() - calm.keys() - {"dry_run"}
    assert not unknown, unknown
    names = {
        "unreadable": ("pool_condition", {"type": "BrokerReachable", "status": "False"}),
        "stalled": ("pool_condition", {"type": "Stalled", "status": "True"}),
        "oldest": ("pool_oldest_task_seconds", {}),
        "target": ("pool_target_wait_seconds", {}),
        "desired": ("pool_desired_replicas", {}),
        "ready": ("pool_ready_replicas", {}),
        "decision": ("pool_decision", {"reason": "WithinTarget"}),
        "dry_run": ("pool_decision", {"reason": "DryRun"}),
        "drain": ("pool_oldest_drain_seconds", {}),
        "silent": ("pool_silent_workers", {}),
        "not_fetching": ("pool_not_fetching_workers", {}),
        "degraded": ("pool_condition", {"type": "AgentDegraded", "status": "True"}),
        "dead": ("queue_dead_letters", {"queue": "ml"}),
        "succeeded": ("tasks_total", {"task": "app.add", "state": "succeeded"}),
        "failed": ("tasks_total", {"task": "app.add", "state": "failed"}),
    }
    found = {}
    for key, values in (calm | series).items():
        metric, more = names[key]
        labels = {"namespace": namespace, "pool": name, "instance": instance, "job": "celeriac-metrics", **more}
        text = ", ".join(f'{label}="{value}"' for label, value in labels.items())
        if values is not None:
            found[f"celeriac_{metric}{{{text}}}"] = values
    return found


def moved(after: int, **series: str) -> dict[str, str]:
    """A pool of which replica `a` speaks for so many scrapes, and `b` from two scrapes later on."""
    told = pool(**series) | pool(instance="b", **series)
    return {
        name: f"{values.split('x')[0]}x{after} stale" if '"a"' in name else f"_x{after + 2} {values}"
        for name, values in told.items()
    }


HANDED_OVER: Final = operator("a", leads="1x40 stale", ticks="0+30x40 stale") | operator(
    "b", leads="0x42 1x300", ticks="0x42 0+30x300"
)
"""Replica `a` dies after ten minutes, and `b` leads half a minute later."""


@dataclass(frozen=True)
class Story:
    """What was scraped, and which alerts fire at a moment.

    fires   alerts with their labels beside the severity: "CeleriacDeadLetters namespace=shop pool=ml queue=ml"
    told    what the annotations say in place of `{{ $value ... }}`; None where only firing is asked for
    """

    name: str
    series: Series
    minutes: float
    fires: tuple[str, ...] = ()
    told: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name
