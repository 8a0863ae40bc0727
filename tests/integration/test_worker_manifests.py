"""A real API server takes every Deployment that is built, and its pod security admission takes their pods."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from celeriac.api.keys import PoolKey
from celeriac.pool.model import PodSecurity, WorkerPool
from celeriac.resources import build_deployment
from tests.cluster.control_plane import ControlPlane
from tests.cluster.errors import ClusterError
from tests.unit.resources.pools import AGENT, POOLS, RESTRICTED_TEMPLATE, SOLO, TLS

pytestmark = pytest.mark.integration


def manifest(pool: WorkerPool, namespace: str, agent: Mapping[str, str] | None = AGENT) -> dict[str, Any]:
    """The Deployment in a namespace of the test; without its owner, which is not in the cluster."""
    deployment = build_deployment(replace(pool, key=PoolKey(namespace, pool.key.name)), agent=agent)
    del deployment["metadata"]["ownerReferences"]
    return deployment


@pytest.mark.parametrize("agent", [AGENT, None], ids=["agent", "plain"])
@pytest.mark.parametrize("name", POOLS)
def test_the_api_server_knows_every_field_and_a_second_apply_changes_nothing(
    control_plane: ControlPlane, namespace: str, name: str, agent: Mapping[str, str] | None
) -> None:
    text = json.dumps(manifest(POOLS[name], namespace, agent))
    apply = ("apply", "--server-side", "--validate=strict", "-f", "-", "--output=json")
    first, second = (json.loads(control_plane.kubectl(*apply, stdin=text)) for _ in range(2))
    assert (first["metadata"]["generation"], second["metadata"]["generation"]) == (1, 1)


def admit(control_plane: ControlPlane, namespace: str, standard: str, pool: WorkerPool) -> None:
    """Ask for a pod of the pool in a namespace that enforces a Pod Security Standard; raises ClusterError."""
    control_plane.kubectl("label", "namespace", namespace, f"pod-security.kubernetes.io/enforce={standard}")
    control_plane.wait_for_service_account(namespace)
    template = manifest(pool, namespace)["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one", "namespace": namespace}} | {
        "spec": template["spec"]
    }
    control_plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))


@pytest.mark.parametrize("pool", [RESTRICTED_TEMPLATE, replace(TLS, pod_security=PodSecurity.RESTRICTED)])
def test_pods_of_a_restricted_pool_pass_the_restricted_standard(
    control_plane: ControlPlane, namespace: str, pool: WorkerPool
) -> None:
    admit(control_plane, namespace, "restricted", pool)


def test_pods_of_a_baseline_pool_pass_the_baseline_standard(control_plane: ControlPlane, namespace: str) -> None:
    admit(control_plane, namespace, "baseline", TLS)


def test_pods_of_a_baseline_pool_fail_the_restricted_standard(control_plane: ControlPlane, namespace: str) -> None:
    with pytest.raises(ClusterError, match="violates PodSecurity"):
        admit(control_plane, namespace, "restricted", SOLO)
