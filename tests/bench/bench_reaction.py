"""Seconds from LPUSH to the final desired count in the Deployment: one pool, a real API server, a real Redis.

Each run pushes a burst with one LPUSH at a random phase of the tick and watches the Deployment; then the queue is
emptied and the pool goes back to zero. Nothing runs in between but the operator, a process of its own.
"""

import random
import statistics
import time
from collections.abc import Sequence

import redis
from rich.console import Console
from rich.progress import track

from tests.cluster.control_plane import ControlPlane
from tests.integration.crds import install_crds
from tests.integration.kube import Kube
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer

RUNS = 50
BURST = 8
TICK_SECONDS = 0.5
GOAL_P50_SECONDS = 0.5
NAMESPACE = "bench"
POOL = "burst"


def one_run(kube: Kube, client: redis.Redis) -> float:
    """Seconds from the LPUSH of a burst until the watch shows its count in the Deployment."""
    time.sleep(random.uniform(0, TICK_SECONDS))
    pushed = time.perf_counter()
    client.lpush(POOL, *["{}"] * BURST)
    kube.wait_for_replicas(POOL, BURST)
    seconds = time.perf_counter() - pushed
    client.delete(POOL)
    kube.wait_for_replicas(POOL, 0)
    return seconds


def report(console: Console, seconds: Sequence[float]) -> None:
    """Print what was measured; p99 of 50 runs is the slowest but one half."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    console.print(f"LPUSH of {BURST} tasks -> spec.replicas {BURST}, {len(seconds)} runs, tick {TICK_SECONDS} s")
    console.print(
        f"p50 {statistics.median(seconds):.3f} s   p99 {cuts[98]:.3f} s   "
        f"min {min(seconds):.3f} s   max {max(seconds):.3f} s"
    )
    verdict = "met" if statistics.median(seconds) <= GOAL_P50_SECONDS else "missed"
    console.print(f"goal: p50 <= {GOAL_P50_SECONDS} s: {verdict}")


def main() -> None:
    """Run and print."""
    console = Console()
    with ControlPlane(controllers=True) as control_plane, RedisServer() as server:
        install_crds(control_plane)
        control_plane.kubectl("create", "namespace", NAMESPACE)
        kube = Kube(control_plane.kubeconfig, NAMESPACE)
        arguments = ("--tick-seconds", str(TICK_SECONDS))
        with OperatorProcess(control_plane.kubeconfig, NAMESPACE, *arguments), server.client() as client:
            kube.create_pool(POOL, server.celery_url, scaling={"scaleToZeroAfterSeconds": 0})
            kube.wait_for_condition(POOL, "BrokerReachable", "True", "Readable")
            report(console, [one_run(kube, client) for _ in track(range(RUNS), "bursts", console=console)])


if __name__ == "__main__":
    main()
