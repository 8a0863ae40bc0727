"""Puts the project's CRDs into a cluster of the tests."""

import json
from pathlib import Path

from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import wait_until

CRDS = Path(__file__).parents[2] / "crds"
POOLS = "celeryworkerpools.celeriac.dev"
REQUESTS = "celerypoolrequests.celeriac.dev"


def install_crds(control_plane: ControlPlane) -> None:
    """Apply crds/, whatever was there before, and wait until the API server serves them."""
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    for name in (POOLS, REQUESTS):
        wait_established(control_plane, name)


def wait_established(control_plane: ControlPlane, name: str) -> None:
    """Wait for one CRD. Not by `kubectl wait` or a jsonpath, which fail before the CRD has any condition."""

    def is_established() -> bool:
        crd = json.loads(control_plane.kubectl("get", "crd", name, "--output=json"))
        conditions = crd.get("status", {}).get("conditions") or ()
        return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)

    wait_until(is_established, f"CRD {name} established", seconds=30)
