"""The operator's rights as the chart gives them, on a control plane where its Deployment is not needed.

rights = ChartRights(control_plane, home, "operator-of-stories")
rights.give()
OperatorProcess(rights.kubeconfig(), "operator-of-stories", clusterwide=True)
"""

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.control_plane import ControlPlane
from tests.cluster.errors import ClusterError
from tests.cluster.process import wait_until
from tests.integration.helm import CHART, IMAGE, RELEASE, Helm

ROLES = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
POLICIES = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
POLICY_SECONDS = 60


class ChartRights:
    """The ServiceAccount, the roles and the admission policies of a release in a namespace that is there."""

    def __init__(self, control_plane: ControlPlane, home: Path, namespace: str) -> None:
        self._control_plane = control_plane
        self._helm = Helm(control_plane, home)
        self.namespace = namespace
        self._given = ""
        self.user = f"system:serviceaccount:{namespace}:{RELEASE}"

    def manifests(self, kinds: Iterable[str], *, kube_version: str = "1.34.4", **values: Any) -> list[dict[str, Any]]:
        """What the chart has of these kinds."""
        options = (f"--namespace={self.namespace}", f"--kube-version={kube_version}")
        text = self._helm.run("template", RELEASE, str(CHART), *options, values=IMAGE | values)
        documents = yaml.load_all(text, yaml.CSafeLoader)
        return [document for document in documents if document and document["kind"] in kinds]

    def give(self, **values: Any) -> None:
        """Apply them, and wait until the policies hold; the API server heeds new ones after some time."""
        self._given = yaml.safe_dump_all(self.manifests((*ROLES, *POLICIES), **values))
        self._control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=self._given)
        wait_until(self._hold, "the admission policies hold", seconds=POLICY_SECONDS)

    def _hold(self) -> bool:
        """Whether the API server refuses a ConfigMap that the roles allow."""
        create = ("create", "configmap", "probe", f"--namespace={self.namespace}", "--dry-run=server")
        try:
            self._control_plane.kubectl(*create, f"--as={self.user}")
        except ClusterError as error:
            return "ValidatingAdmissionPolicy" in str(error)
        return False

    def take(self) -> None:
        """Remove them again."""
        self._control_plane.kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=self._given)

    def kubeconfig(self) -> Path:
        """With a token of the ServiceAccount."""
        return self._control_plane.kubeconfig_for_service_account(self.namespace, RELEASE)

    def asked(self) -> Iterator[dict[str, Any]]:
        """The operator's requests, from the audit log."""
        return (each for each in self._control_plane.audit_events() if each["user"].get("username") == self.user)

    def refusals(self) -> list[str]:
        """What its roles or the policies of the chart have refused to it; not what another's policy has."""
        words = (f'User "{self.user}" cannot', f"ValidatingAdmissionPolicy '{RELEASE}.{self.namespace}.")
        said = [(event, event["responseStatus"].get("message", "")) for event in self.asked()]
        return [
            f"{event['verb']} {event['requestURI']}: {text}" for event, text in said if any(w in text for w in words)
        ]

    def used(self) -> set[tuple[str, str]]:
        """Pairs of GROUP/RESOURCE or GROUP/RESOURCE/SUBRESOURCE and verb of all objects that it has asked for.

        An apply that makes an object is a patch to the audit log, and asks for the right to create as well.
        """
        found = set()
        for event in self.asked():
            if it := event.get("objectRef"):
                parts = (it.get("apiGroup", ""), it["resource"], *filter(None, [it.get("subresource")]))
                made = event["verb"] == "patch" and event["responseStatus"]["code"] == HTTPStatus.CREATED
                found |= {("/".join(parts), verb) for verb in (event["verb"], *(["create"] if made else []))}
        return found
