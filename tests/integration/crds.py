"""Puts the project's CRDs into a cluster of the tests."""

from pathlib import Path
from typing import Any

from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import wait_until

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CRDS = Path(__file__).parents[2] / "crds"
POOLS = "celeryworkerpools.celeriac.dev"
REQUESTS = "celerypoolrequests.celeriac.dev"


_applied: dict[str, list[tuple[str, int] | None]] = {}
"""What was there after crds/ were applied, by the URL of the API server: uid and generation of each CRD."""


def install_crds(control_plane: ControlPlane) -> None:
    """Let the API server serve crds/, whatever was there before; where nothing has changed since, nothing is done."""
    if _applied.get(control_plane.url) == _found(control_plane):
        return
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    for name in (POOLS, REQUESTS):
        wait_established(control_plane, name)
    _applied[control_plane.url] = _found(control_plane)


def _found(control_plane: ControlPlane) -> list[tuple[str, int] | None]:
    """None for a CRD that is not there, or is going."""

    def found(name: str) -> tuple[str, int] | None:
        metadata = definition(control_plane, name).get("metadata", {})
        return None if not metadata or "deletionTimestamp" in metadata else (metadata["uid"], metadata["generation"])

    return [found(name) for name in (POOLS, REQUESTS)]


def definition(control_plane: ControlPlane, name: str) -> dict[str, Any]:
    """The CRD as it is now; empty where it is not there."""
    return control_plane.read(f"{DEFINITIONS}/{name}") or {}


def wait_established(control_plane: ControlPlane, name: str) -> None:
    """Wait for one CRD. Not by `kubectl wait` or a jsonpath, which fail before the CRD has any condition."""

    def is_established() -> bool:
        conditions = definition(control_plane, name).get("status", {}).get("conditions") or ()
        return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)

    wait_until(is_established, f"CRD {name} established", seconds=30)
