"""`make pictures`: a run on a real API server and a real Redis, scraped by a real Prometheus, and the dashboards of it.

uv run --frozen --group plot python -m tests.pictures [--out docs/pictures] [--pools 200] [--seconds 120]
"""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import click

from tests.integration.chart_rules import rendered
from tests.integration.dashboard_queries import dashboards
from tests.integration.prometheus_server import Prometheus, eventually, running_prometheus
from tests.pictures.data import Source, Window
from tests.pictures.draw import Picture
from tests.pictures.scene import Scene, staged

ROOT = Path(__file__).parents[2]
CHOICES: Mapping[str, Mapping[str, str]] = {
    "fleet": {},
    "pool": {"namespace": "shop", "pool": "ml"},
    "operator": {},
}
PARTS = {("pool", "Queue length over replicas"): "scaling"}
"""Panels that are pictures of their own, too: dashboard and title -> name."""
SCRAPE_SECONDS = 2.0
ALERTS = {"prometheusRule": {"operatorSelector": 'job="celeriac"'}}


async def picture(name: str, prometheus: Prometheus, window: Window, out: Path) -> None:
    """One dashboard, drawn."""
    dashboard = dashboards()[name]
    source = Source(prometheus, window, CHOICES[name])
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    drawn = Picture(dashboard, CHOICES[name], rows)
    marks: dict[str, list[float]] = {}
    for each in dashboard["annotations"]["list"]:
        marks.setdefault(each["iconColor"], []).extend(await source.moments(each["expr"]))
    for panel in dashboard["panels"]:
        drawn.draw(panel, await source.lines(panel), marks, window.end - window.start)
    drawn.save(out / f"{name}.png")
    for panel in dashboard["panels"]:
        if part := PARTS.get((name, panel["title"])):
            drawn.cut(panel, out / f"{name}.png", out / f"{part}.png")
    if source.unanswered:
        raise click.ClickException("without data in a run that should have some:\n" + "\n".join(source.unanswered))


async def run(scene: Scene, seconds: float, out: Path) -> None:
    """Let the scene play, and draw what was scraped of it."""
    rules = rendered(ALERTS)["spec"]
    async with running_prometheus(scene.targets, {"cluster": "north"}, rules, SCRAPE_SECONDS) as prometheus:

        async def scraped() -> bool:
            return (await prometheus.value("min(count_over_time(celeriac_leader[1m]))") or 0) >= 3

        await eventually(scraped, seconds=60)
        started = time.time()
        await asyncio.to_thread(scene.play, seconds)
        window = Window(started, time.time(), SCRAPE_SECONDS)
        for name in CHOICES:
            await picture(name, prometheus, window, out)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "docs" / "pictures", show_default=True)
@click.option("--pools", default=200, show_default=True, help="Pools of the fleet.")
@click.option("--seconds", default=100.0, show_default=True, help="How long the run is.")
def main(out: Path, pools: int, seconds: float) -> None:
    """Draw the dashboards anew."""
    out.mkdir(parents=True, exist_ok=True)
    with staged(pools) as scene:
        asyncio.run(run(scene, seconds, out))
    for file in sorted(out.glob("*.png")):
        click.echo(f"{file}: {file.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
