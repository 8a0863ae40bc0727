"""`kubectl celery doctor` on a real API server: what it says while an operator runs, and after its end."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from celeriac.cli.kubectl import celery
from celeriac.cli.rights import RIGHTS
from tests.cluster.control_plane import ControlPlane
from tests.integration.chart_rights import ChartRights
from tests.integration.crds import install_crds
from tests.integration.helm import RELEASE
from tests.integration.kube import LEASES, Kube
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.integration


class Doctor:
    """Runs it in one namespace, where the operator and the pools are."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self._control_plane, self._namespace = control_plane, namespace

    def says(self, kubeconfig: Path | None = None) -> tuple[int, list[str]]:
        """The exit code and the lines."""
        place = ["--namespace", self._namespace, "--operator-namespace", self._namespace]
        given = str(kubeconfig or self._control_plane.kubeconfig)
        result = CliRunner().invoke(celery, ["doctor", *place, "--kubeconfig", given])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output.splitlines()


@pytest.fixture
def doctor(control_plane: ControlPlane, namespace: str) -> Doctor:
    install_crds(control_plane)
    return Doctor(control_plane, namespace)


@pytest.fixture
def kube(control_plane: ControlPlane, namespace: str) -> Kube:
    return Kube(control_plane.kubeconfig, namespace, patience=60)


def test_it_tells_an_operator_that_looks_from_one_that_was_stopped_or_is_gone(
    control_plane: ControlPlane, namespace: str, doctor: Doctor, kube: Kube, redis: RedisServer
) -> None:
    code, lines = doctor.says()
    assert code == 1
    assert lines[0].startswith("ok cluster: the API server answers, Kubernetes v")
    assert lines[1:4] == [
        "ok CRD CeleryWorkerPool: v1alpha1, as this release knows it",
        "ok CRD CeleryPoolRequest: v1alpha1, as this release knows it",
        f"!  operator: none has ever run in namespace {namespace}: install the chart, see docs/install.md",
    ]
    with OperatorProcess(control_plane.kubeconfig, namespace) as operator:
        kube.create_pool("ml", redis.celery_url)
        kube.wait_for_condition("ml", "Ready", "True", "ScaledToZero")
        code, lines = doctor.says()
        assert (code, "ok pools: 1 of 1 are as they should be" in lines) == (0, True), lines
        assert lines[3].startswith(f"ok operator {namespace}/celeriac: operator-{operator.port} leads, ")
        assert ", renewed its Lease " in lines[3]
        assert lines[3].endswith(f"serves the namespaces {namespace}")
        assert "ok brokers: 1 of 1 pools can be read" in lines
        assert "ok eviction: the brokers of 1 of 1 pools keep their keys when memory is full" in lines
        assert "ok agents: those of 1 of 1 pools can do all that they promise" in lines
        assert "ok unread lists: 1 of 1 brokers have none of Celery's own that matter" in lines
        kube.create_pool("lost")
        kube.wait_for_condition("lost", "Ready", "False", "SecretNotFound")
        code, lines = doctor.says()
        assert code == 1
        assert "pool " + f"{namespace}/lost: Ready False, SecretNotFound: Secret" in "\n".join(lines)
        assert "ok pools: 1 of 2 are as they should be" in lines
        assert operator.stop() == 0
        assert "no operator has looked since it was stopped" in doctor.says()[1][3]
        operator.start()
        kube.wait_for(LEASES, "celeriac", lambda lease: bool(lease["spec"].get("holderIdentity")))
        operator.kill()
        kube.patch(LEASES, "celeriac", {"spec": {"renewTime": "2026-01-01T12:00:00.000000Z"}})
        code, lines = doctor.says()
        assert code == 1
        assert (
            f"!  operator {namespace}/celeriac: no operator has looked since 2026-01-01T12:00:00.000000Z (" in lines[3]
        )


@pytest.mark.full
def test_it_names_the_rights_that_the_operator_lacks(
    control_plane: ControlPlane, namespace: str, doctor: Doctor, kube: Kube
) -> None:
    """The Pod is written by hand: there is no node, and the operator runs beside the cluster."""
    core: Any = kube.core
    with OperatorProcess(control_plane.kubeconfig, namespace) as operator:
        kube.wait_for(LEASES, "celeriac", lambda lease: bool(lease["spec"].get("holderIdentity")))
        core.create_namespaced_service_account(namespace, {"metadata": {"name": "op"}})
        pod = {"serviceAccountName": "op", "containers": [{"name": "operator", "image": "celeriac:1"}]}
        core.create_namespaced_pod(namespace, {"metadata": {"name": f"operator-{operator.port}"}, "spec": pod})
        rules = [
            {"apiGroups": [group], "resources": ["/".join(rest)], "verbs": [verb for verb in verbs if verb != "patch"]}
            for name, verbs in RIGHTS.items()
            for group, *rest in [name.split("/")]
            if verbs != ("patch",)
        ]
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": rules}
        control_plane.kubectl("create", "-f", "-", stdin=json.dumps(role | {"metadata": metadata("op", namespace)}))
        account = f"--serviceaccount={namespace}:op"
        control_plane.kubectl("create", "rolebinding", "op", "--role=op", account, f"--namespace={namespace}")
        [line] = [line for line in doctor.says()[1] if "rights: " in line and "your rights" not in line]
        assert line.startswith(f"!  rights: system:serviceaccount:{namespace}:op may not ")
        named = line.partition(" may not ")[2].partition(": ")[0].split(", ")
        assert sorted(each.partition(" in ")[0] for each in named) == sorted(
            f"patch {name.removeprefix('/')}" for name, verbs in RIGHTS.items() if "patch" in verbs
        )


@pytest.mark.full
def test_it_tells_where_no_policy_holds_the_operator_and_where_one_is_not_bound(
    control_plane: ControlPlane, namespace: str, doctor: Doctor, kube: Kube, tmp_path: Path
) -> None:
    core: Any = kube.core
    rights = ChartRights(control_plane, tmp_path, namespace)

    def policies() -> str:
        [line] = [line for line in doctor.says()[1] if "policies: " in line]
        return line

    with OperatorProcess(control_plane.kubeconfig, namespace) as operator:
        kube.wait_for(LEASES, "celeriac", lambda lease: bool(lease["spec"].get("holderIdentity")))
        core.create_namespaced_service_account(namespace, {"metadata": {"name": RELEASE}})
        pod = {"serviceAccountName": RELEASE, "containers": [{"name": "operator", "image": "celeriac:1"}]}
        core.create_namespaced_pod(namespace, {"metadata": {"name": f"operator-{operator.port}"}, "spec": pod})
        assert policies().startswith(f"!  policies: none is about {rights.user}, its roles alone say")
        rights.give()
        try:
            assert policies() == f"ok policies: {rights.user} may write what the operator writes, and nothing else"
            control_plane.kubectl("delete", "validatingadmissionpolicybinding", f"{RELEASE}.{namespace}.other")
            assert "other (not bound); upgrade the chart with admissionPolicy.enabled" in policies()
        finally:
            rights.take()


def test_a_crd_of_another_release_is_told_and_what_a_user_may_not_ask_is_said(
    control_plane: ControlPlane, doctor: Doctor
) -> None:
    crd = "customresourcedefinitions.apiextensions.k8s.io/celeryworkerpools.celeriac.dev"
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/waiting/description"
    patch = json.dumps([{"op": "replace", "path": path, "value": "Of before."}])
    control_plane.kubectl("patch", crd, "--type=json", f"--patch={patch}")
    try:
        assert doctor.says()[1][1].startswith("!  CRD CeleryWorkerPool: it is that of another release than this plugin")
    finally:
        install_crds(control_plane)
    code, lines = doctor.says(control_plane.kubeconfig_for("eve"))
    assert code == 1
    assert [line[:2] for line in lines[1:3]] == ["? ", "? "]
    assert "ask for get on customresourcedefinitions" in lines[1]
    assert "--operator-namespace" in lines[3]
    assert "ask for a Role with get, list and patch on celeryworkerpools.celeriac.dev" in lines[-1]


def metadata(name: str, namespace: str) -> dict[str, str]:
    return {"name": name, "namespace": namespace}
