"""The system under test: a cluster with the images, and the operator in it as users install it, with the chart."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import images, tools
from tests.cluster.images import Image
from tests.cluster.process import run
from tests.cluster.progress import step
from tests.cluster.target import Target
from tests.integration.kube import Kube

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "celeriac"
CRD = "celeryworkerpools.celeriac.dev"
NAMESPACE = "celeriac-e2e"
RELEASE = "celeriac"
OPERATOR = Image("celeriac:dev", ROOT / "operator" / "Dockerfile", ROOT)
WORKER = Image("celeriac-demo:dev", ROOT / "worker-image" / "Dockerfile", ROOT / "worker-image")
NEXT_WORKER = Image("celeriac-demo:next", ROOT / "worker-image" / "Dockerfile", ROOT / "worker-image")
VALUES = {"image": {"repository": "celeriac", "tag": "dev"}, "crds": {"keep": False}}


class System:
    """The installed operator."""

    def __init__(self, cluster: Target) -> None:
        self.cluster = cluster
        self.kube = Kube(cluster.kubeconfig, NAMESPACE)

    def kubectl(self, *arguments: str) -> str:
        """In the operator's namespace."""
        return self.cluster.kubectl(f"--namespace={NAMESPACE}", *arguments)

    def operator_pod(self) -> str:
        """The name of the one Pod of the operator."""
        return self.kubectl("get", "pod", f"--selector=app.kubernetes.io/instance={RELEASE}", "--output=name").strip()

    def kill_operator(self) -> None:
        """Delete its Pod by force: the API forgets it at once, the kubelet gives it two seconds at most."""
        self.kubectl("delete", self.operator_pod(), "--force", "--grace-period=0")

    def restarts(self) -> str:
        """Of the operator's container."""
        path = "{.items[*].status.containerStatuses[*].restartCount}"
        return self.kubectl("get", "pod", f"--output=jsonpath={path}").strip()

    def log(self) -> str:
        """What the operator wrote since its Pod started."""
        return self.kubectl("logs", f"deployment/{RELEASE}")


@contextmanager
def installed(cluster: Target) -> Iterator[System]:
    """Bring the images, install the operator, wait until it is ready; at the end everything goes, the CRD too."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(cluster.provide, (images.REDIS, OPERATOR, WORKER)))
    try:
        with step("install the operator with its chart"):
            helm(cluster, "upgrade", "--install", RELEASE, str(CHART), "--create-namespace", values=VALUES)
            ready = f"--namespace={NAMESPACE}", "--timeout=180s"
            cluster.kubectl("rollout", "status", f"deployment/{RELEASE}", *ready)
            helm(cluster, "test", RELEASE)
        yield System(cluster)
    finally:
        with step("remove the operator"):
            helm(cluster, "uninstall", RELEASE, "--ignore-not-found", "--wait")
            cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")


def helm(cluster: Target, *arguments: str, values: dict[str, Any] | None = None) -> None:
    """Runs Helm in the operator's namespace; raises ClusterError with what it said."""
    command = [str(tools.binary("helm")), f"--kubeconfig={cluster.kubeconfig}", f"--namespace={NAMESPACE}", *arguments]
    if values is None:
        run(command)
    else:
        run([*command, "--values=-"], stdin=yaml.safe_dump(values))
