"""Puts the project's CRDs into a cluster of the tests."""

from pathlib import Path

from tests.cluster.control_plane import ControlPlane

CRDS = Path(__file__).parents[2] / "crds"
POOLS = "celeryworkerpools.celeriac.dev"


def install_crds(control_plane: ControlPlane) -> None:
    """Apply crds/, whatever was there before, and wait until the API server serves them."""
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    wait_established(control_plane, POOLS)


def wait_established(control_plane: ControlPlane, name: str) -> None:
    """Wait for one CRD. Not with --for=condition, which fails while a new CRD has no conditions at all."""
    established = '--for=jsonpath={.status.conditions[?(@.type=="Established")].status}=True'
    control_plane.kubectl("wait", established, f"crd/{name}", "--timeout=30s")
