"""Puts the project's CRDs into a cluster of the tests."""

from pathlib import Path

from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import wait_until

CRDS = Path(__file__).parents[2] / "crds"
POOLS = "celeryworkerpools.celeriac.dev"


def install_crds(control_plane: ControlPlane) -> None:
    """Apply crds/, whatever was there before, and wait until the API server serves them."""
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    wait_established(control_plane, POOLS)


def wait_established(control_plane: ControlPlane, name: str) -> None:
    """Wait for one CRD. Not by `kubectl wait`, which fails where it looks before the CRD has any condition."""
    established = '{.status.conditions[?(@.type=="Established")].status}'

    def is_established() -> bool:
        return control_plane.kubectl("get", "crd", name, "-o", f"jsonpath={established}") == "True"

    wait_until(is_established, f"CRD {name} established", seconds=30)
