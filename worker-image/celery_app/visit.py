"""Visit the web service: send it pictures by HTTP, and ask until it has said what they show.

python -m celery_app.visit --count 20 --wait
"""

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import click

PICTURES = Path(__file__).parents[1] / "model" / "pictures.json"
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 200.0


@click.command()
@click.option("--url", default="http://web", show_default=True, help="Where the service is.")
@click.option("--count", default=10, show_default=True, type=click.IntRange(1, 10_000), help="Pictures.")
@click.option("--seconds", default=1.0, show_default=True, type=click.FloatRange(0, 60), help="How long each takes.")
@click.option("--cpu-share", default=1.0, show_default=True, type=click.FloatRange(0, 1), help="Part of it computing.")
@click.option("--wait", is_flag=True, help="Wait for all answers, and count the right ones.")
@click.option("--run", help="Name of a run in the ledger, which then has these tasks too.")
def main(url: str, count: int, seconds: float, cpu_share: float, wait: bool, run: str | None) -> None:
    """Send pictures that the model has not seen, and say how long the service took to answer."""
    pictures = json.loads(PICTURES.read_text())
    began = time.monotonic()
    asked: dict[str, int] = {}
    slowest = 0.0
    for number in range(count):
        pixels, label = pictures[number % len(pictures)]
        sent = time.monotonic()
        order = {"pixels": pixels, "seconds": seconds, "cpu_share": cpu_share}
        asked[answer(f"{url}/digits", order, run)["id"]] = label
        slowest = max(slowest, time.monotonic() - sent)
    click.echo(f"{count} pictures taken, each within {slowest * 1000:.0f} ms")
    if not wait:
        return
    right, pods = 0, set()
    for task, label in asked.items():
        while (found := answer(f"{url}/digits/{task}"))["state"] == "waiting":
            if time.monotonic() > began + PATIENCE_SECONDS:
                raise click.ClickException(f"no answer for {task} within {PATIENCE_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)
        right += found["digit"] == label
        pods.add(found["pod"])
    told = f"{len(asked)} answers after {time.monotonic() - began:.0f} s from {len(pods)} pods, {right} of them right"
    click.echo(told)


def answer(url: str, body: dict[str, Any] | None = None, run: str | None = None) -> dict[str, Any]:
    """What the service says; raises HTTPError for what is no answer (a task that failed)."""
    data = json.dumps(body).encode() if body else None
    headers = {"Content-Type": "application/json", **({"X-Run": run} if run else {})}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as response:
        return dict(json.load(response))


if __name__ == "__main__":
    main()
