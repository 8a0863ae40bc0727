"""Where a story happens: a namespace of its own with a Redis in it, pools on that Redis, and witnesses of it all."""

import itertools
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.cluster import tools
from tests.cluster.target import Target
from tests.e2e.system import WORKER
from tests.e2e.tasks import Tasks
from tests.e2e.witness import Witness
from tests.integration.kube import DEPLOYMENTS, Body, Kube

PATIENCE = 120.0
"""Seconds for whatever takes seconds: the machine may be busy."""
REDIS = Path(__file__).parents[2] / "worker-image" / "samples" / "redis.yaml"
FAST: Mapping[str, Any] = {
    "scaleToZeroAfterSeconds": 2,
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 1}},
}
SMALL = {"resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}}

_numbers = itertools.count(1)


class Story:
    """One namespace. `kube` acts in it, `tasks` sends and accounts, `witness` has seen everything since its start."""

    def __init__(
        self, cluster: Target, namespace: str, tasks: Tasks, witness: Witness, broker_url: str | None = None
    ) -> None:
        """`broker_url`: where pods find the story's Redis, when it is not the one of this namespace."""
        self.cluster = cluster
        self.namespace = namespace
        self.tasks = tasks
        self.witness = witness
        self.kube = Kube(cluster.kubeconfig, namespace, PATIENCE)
        self.broker_url = broker_url or f"redis://redis.{namespace}:6379/0"

    def pool(self, name: str, queues: list[str], *, pool: str = "solo", **spec: Any) -> None:
        """Create a pool of the demo image, quick to scale down, and wait until its Redis is read.

        `scaling` is merged into the quick defaults; whatever else is given stands as it is.
        """
        self.declare(name, queues, pool=pool, **spec)
        self.kube.wait_for_condition(name, "BrokerReachable", "True", "Readable")

    def declare(self, name: str, queues: list[str], *, broker_url: str | None = None, **spec: Any) -> None:
        """Create a pool without waiting for anything."""
        defaults = {"image": WORKER.tag, "app": "celery_app", "drain": {"timeoutSeconds": 90}}
        template = {"spec": SMALL | spec.pop("template", {})}
        scaling = {**FAST, **spec.pop("scaling", {})}
        broker = {} if "broker" in spec else {"broker": {"url": broker_url or self.broker_url}}
        body = defaults | broker | spec | {"queues": queues, "scaling": scaling, "template": template}
        self.kube.create_pool(name, **body)

    def wait_for_zero(self, name: str, seconds: float = PATIENCE) -> None:
        """Until the pool wants no replica and its last Pod is gone: a worker that ends may still run its task."""
        self.kube.wait_for(DEPLOYMENTS, name, _at_zero, seconds)
        self.kubectl("wait", "--for=delete", "pod", f"--selector=celeriac.dev/pool={name}", f"--timeout={seconds}s")
        self.kube.wait_for_condition(name, "Ready", "True", "ScaledToZero")

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """In the story's namespace."""
        return self.cluster.kubectl(f"--namespace={self.namespace}", *arguments, stdin=stdin)


def _at_zero(deployment: Body) -> bool:
    return not deployment["spec"]["replicas"] and not deployment.get("status", {}).get("replicas")


@contextmanager
def fresh_namespace(cluster: Target, *labels: str) -> Iterator[str]:
    """A namespace with labels (name=value); it is deleted in the end, without waiting until it is gone."""
    name = f"story-{os.getpid()}-{next(_numbers)}"
    cluster.kubectl("create", "namespace", name)
    try:
        if labels:
            cluster.kubectl("label", "namespace", name, *labels)
        yield name
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")


@contextmanager
def told_in(cluster: Target) -> Iterator[Story]:
    """A story in a namespace of its own, with a Redis that answers."""
    with ExitStack() as stack:
        namespace = stack.enter_context(fresh_namespace(cluster))
        own = f"--namespace={namespace}"
        cluster.kubectl("apply", own, f"--filename={REDIS}")
        cluster.kubectl("rollout", "status", "deployment/redis", own, f"--timeout={PATIENCE:.0f}s")
        witness = stack.enter_context(Witness(cluster.kubeconfig, namespace))
        port = stack.enter_context(forwarded(cluster, namespace, "deployment/redis", 6379))
        yield Story(cluster, namespace, Tasks(f"redis://127.0.0.1:{port}/0"), witness)


@contextmanager
def forwarded(cluster: Target, namespace: str, target: str, port: int) -> Iterator[int]:
    """A port of this machine that leads to one of a pod, on every kind of cluster."""
    command = [str(tools.binary("kubectl")), f"--kubeconfig={cluster.kubeconfig}", f"--namespace={namespace}"]
    command += ["port-forward", target, f":{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()  # Forwarding from 127.0.0.1:41234 -> 6379
        try:
            assert first, process.stderr.read() if process.stderr else ""
            yield int(first.split(" -> ")[0].rpartition(":")[2])
        finally:
            process.terminate()
