"""The names under which Prometheus knows the operator's own metrics."""

from celeriac.telemetry.metrics import Metrics

SUFFIX = {"counter": "_total", "info": "_info"}


def metric_names() -> set[str]:
    """Without the _bucket, _count and _sum of histograms."""
    own = (family for family in Metrics().registry.collect() if family.name.startswith("celeriac_"))
    return {family.name + SUFFIX.get(family.type, "") for family in own}
