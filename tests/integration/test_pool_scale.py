"""What the API server lets a pool's /scale be, and what people are told who let an autoscaler look at it.

The answers of the API server are facts that decision 0061 stands on: where one changes, it can be taken again.
"""

import json
import subprocess
from collections.abc import Iterator

import pytest
import yaml

from tests.cluster import tools
from tests.cluster.control_plane import ControlPlane
from tests.cluster.errors import ClusterError
from tests.cluster.process import wait_until
from tests.integration.chart_rights import ChartRights
from tests.integration.crds import install_crds
from tests.integration.kube import AUTOSCALERS, POOLS, Kube

pytestmark = pytest.mark.integration

CRD = "crd/celeryworkerpools.celeriac.dev"
SCALE_PATH = "/spec/versions/0/subresources/scale/specReplicasPath"
SPEC = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties"


@pytest.fixture
def kube(control_plane: ControlPlane, namespace: str) -> Iterator[Kube]:
    install_crds(control_plane)
    yield Kube(control_plane.kubeconfig, namespace, patience=40)
    install_crds(control_plane)


def refusal(control_plane: ControlPlane, *arguments: str, stdin: str | None = None) -> str:
    with pytest.raises(ClusterError) as caught:
        control_plane.kubectl(*arguments, stdin=stdin)
    return str(caught.value)


def warnings(control_plane: ControlPlane, namespace: str, kind: str) -> str:
    """What kubectl says beside its output where an HPA of an object of this kind is made."""
    version = "celeriac.dev/v1alpha1" if kind == "CeleryWorkerPool" else "apps/v1"
    spec = {"maxReplicas": 5, "scaleTargetRef": {"apiVersion": version, "kind": kind, "name": "ml"}}
    hpa = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "ml"}, "spec": spec}
    command = [str(tools.binary("kubectl")), f"--kubeconfig={control_plane.kubeconfig}", f"--namespace={namespace}"]
    command += ["create", "--dry-run=server", "-f", "-"]
    return subprocess.run(command, input=json.dumps(hpa), capture_output=True, text=True, check=True).stderr


def scale_path(control_plane: ControlPlane, namespace: str) -> str:
    return f"/apis/celeriac.dev/v1alpha1/namespaces/{namespace}/celeryworkerpools/ml/scale"


def test_the_scale_of_an_unpinned_pool_has_no_value_that_the_api_server_would_take(
    control_plane: ControlPlane, namespace: str, kube: Kube
) -> None:
    kube.create_pool("ml", "redis://redis:6379/0")
    path = scale_path(control_plane, namespace)
    assert 'the spec replicas field ".spec.replicas" does not exist' in refusal(control_plane, "get", "--raw", path)
    control_plane.kubectl("scale", "cwp/ml", "--replicas=0", f"-n{namespace}")
    assert json.loads(control_plane.kubectl("get", "--raw", path))["spec"] == {}, "0, pinned"
    # Its current replicas stand in the status, which the scale may not read as its own.
    patch = json.dumps([{"op": "replace", "path": SCALE_PATH, "value": ".status.replicas"}])
    said = refusal(control_plane, "patch", CRD, "--type=json", f"--patch={patch}")
    assert "should be a json path under .spec" in said
    # A default that no pin could be is no number of replicas.
    patch = json.dumps(
        [
            {"op": "add", "path": f"{SPEC}/handover", "value": {"type": "integer", "minimum": -1, "default": -1}},
            {"op": "replace", "path": SCALE_PATH, "value": ".spec.handover"},
        ]
    )
    control_plane.kubectl("patch", CRD, "--type=json", f"--patch={patch}")
    pool = yaml.safe_dump({**kube.get(POOLS, "ml"), "metadata": {"name": "other"}})

    def refused() -> bool:
        try:
            control_plane.kubectl("create", "--dry-run=server", f"-n{namespace}", "-f", "-", stdin=pool)
        except ClusterError as error:
            return "should be a non-negative integer" in str(error)
        return False

    wait_until(refused, "the API server refuses -1", seconds=30)


def test_an_hpa_says_what_it_lacks_and_has_the_pool_once_that_is_pinned(
    control_plane: ControlPlane, namespace: str, kube: Kube
) -> None:
    kube.create_pool("ml", "redis://redis:6379/0")
    control_plane.kubectl("autoscale", "cwp/ml", "--max=5", f"-n{namespace}")

    def reason(hpa: dict[str, object]) -> str:
        conditions = hpa.get("status", {}).get("conditions", [])  # type: ignore[attr-defined]
        return next((each["reason"] for each in conditions if each["type"] == "AbleToScale"), "")

    kube.wait_for(AUTOSCALERS, "ml", lambda hpa: reason(hpa) == "FailedGetScale")
    control_plane.kubectl("scale", "cwp/ml", "--replicas=1", f"-n{namespace}")
    kube.wait_for(AUTOSCALERS, "ml", lambda hpa: reason(hpa) not in ("", "FailedGetScale"))


def test_whoever_points_an_autoscaler_at_a_pool_is_told_what_to_do(
    control_plane: ControlPlane, namespace: str, kube: Kube, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rights = ChartRights(control_plane, tmp_path_factory.mktemp("helm"), namespace)
    rights.give()
    try:
        hint = "kubectl scale cwp/ml --replicas=1 hands it over"

        def warned() -> bool:
            return hint in warnings(control_plane, namespace, "CeleryWorkerPool")

        wait_until(warned, "the warning to whoever makes an HPA", seconds=60)
        assert hint not in warnings(control_plane, namespace, "Deployment")
    finally:
        rights.take()
