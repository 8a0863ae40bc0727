"""What the pages tell somebody to type, typed on a real API server in the order of the pages, and nothing refuses it.

There is no node: what needs one, or more, has its story elsewhere (tests/doc_commands.py names each). The operator runs
beside the cluster in the place of the Pod that the chart asks for.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.doc_commands import ROOT, RUN, commands, elsewhere, manifests, pages
from tests.integration.crds import wait_established
from tests.integration.helm import CRDS
from tests.integration.operator_process import OperatorProcess
from tests.integration.pages_shell import Shell
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.integration

FIRST = ("README.md",)
LAST = ("docs/install.md", "docs/scale.md", "tests/cluster/README.md", "charts/celeriac/README.md", "CONTRIBUTING.md")
"""docs/install.md ends with the removal; what installs once more stands behind it."""

BEFORE = {
    "kubectl get cwp": "kubectl wait --for=condition=Ready cwp --all --timeout=20s",
    "celeriac convert -f deployment.yaml -f scaledobject.yaml > pool.yaml": (
        "kubectl apply -f deployment.yaml -f scaledobject.yaml"
    ),
}
"""What a reader has done, or seen, before a command."""

CHANGES_WHAT_IS_TRIED = ("helm uninstall", "kubectl delete crd", "kubectl apply -f crds")

FOREIGN = {
    "ScaledObject": ("keda.sh", "v1alpha1"),
    "TriggerAuthentication": ("keda.sh", "v1alpha1"),
    "ServiceMonitor": ("monitoring.coreos.com", "v1"),
    "PrometheusRule": ("monitoring.coreos.com", "v1"),
}
"""Kinds of others that a reader's cluster has."""


def crd(kind: str, group: str, version: str) -> dict[str, object]:
    names = {"kind": kind, "singular": kind.lower(), "plural": f"{kind.lower()}s"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [{"name": version, "served": True, "storage": True, "schema": schema}]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names['plural']}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": versions},
    }


def typed() -> Iterator[tuple[str, str]]:
    """The place and the text of each command that can be typed here, once."""
    every = {str(page.relative_to(ROOT)): page for page in pages()}
    names = [*FIRST, *(name for name in every if name not in (*FIRST, *LAST)), *LAST]
    found = [command for name in names for command in commands(every[name])]
    places: dict[str, str] = {}
    for command in found:
        if next(command.programs())[0] in RUN and elsewhere(command) is None:
            places.setdefault(command.filled(), f"{command.page}:{command.line}")
    return iter(places.items())


@pytest.fixture
def shell(chart_cluster: ControlPlane, server: RedisServer, tmp_path: Path) -> Iterator[Shell]:
    """With the manifests of the pages as files, and the kinds of KEDA and Prometheus in the cluster."""
    shell = Shell(tmp_path, chart_cluster, "shop", server)
    pools = [manifests(ROOT / name)[0] for name in ("README.md", "docs/api.md")]
    deployment, scaled, *_ = manifests(ROOT / "docs/convert.md")
    shell.write("reports.yaml", *pools)
    shell.write("deployment.yaml", deployment)
    shell.write("scaledobject.yaml", scaled)
    foreign = shell.write("foreign.yaml", *(crd(kind, *group) for kind, group in FOREIGN.items()))
    removed = ("delete", "--ignore-not-found", "-f", str(foreign))
    chart_cluster.kubectl(*removed)  # another module may just have taken away its own
    chart_cluster.kubectl("create", "-f", str(foreign))
    yield shell
    shell.type("helm uninstall celeriac -n celeriac --ignore-not-found")
    chart_cluster.kubectl("delete", "crd", *CRDS, "--ignore-not-found")
    chart_cluster.kubectl(*removed)
    chart_cluster.kubectl("delete", "clusterrolebinding", "prometheus-reads-celeriac", "--ignore-not-found")
    chart_cluster.kubectl("delete", "secret,rolebinding", "--all", "-n", "shop")
    chart_cluster.kubectl("label", "namespace", "shop", "celeriac.dev/pools-", "celeriac.dev/shard-")


class Reader:
    """Types, and remembers what went wrong; what Helm would render it tries meanwhile."""

    def __init__(self, shell: Shell) -> None:
        self.wrong: list[str] = []
        self._shell = shell
        self._tries: list[Future[str | None]] = []
        self._pool = ThreadPoolExecutor(2)

    def types(self, text: str, place: str = "the story") -> None:
        if problem := self._shell.type(text):
            self.wrong.append(f"{place}: {problem}")

    def tries(self, text: str) -> None:
        self._tries.append(self._pool.submit(self._shell.type, text, "--dry-run=client"))

    def hears(self) -> None:
        """Wait for what was tried."""
        self.wrong += [problem for each in self._tries if (problem := each.result())]
        self._tries.clear()


@pytest.mark.full
def test_a_reader_types_the_pages(shell: Shell, chart_cluster: ControlPlane) -> None:
    reader = Reader(shell)
    commands = typed()
    text, place = next(commands)
    assert text.startswith("helm install")
    reader.types(text, place)
    for name in CRDS:
        wait_established(chart_cluster, name)
    with OperatorProcess(chart_cluster.kubeconfig, "celeriac", clusterwide=True) as operator:
        for text, place in commands:
            if text in BEFORE:
                reader.types(BEFORE[text])
            if text.startswith(("helm install", "helm upgrade")):
                reader.tries(text)
                continue
            if text.startswith(CHANGES_WHAT_IS_TRIED):
                reader.hears()
            if text.startswith("helm uninstall"):
                operator.stop()
            reader.types(text, place)
        reader.hears()
    assert not reader.wrong, "\n".join(reader.wrong)
