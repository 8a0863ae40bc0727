"""What is stored stays readable: pools of the API's first version under today's, and today's under a v1beta1 beside it.

Each story has the API under a group of its own, as the cluster of the tests has today's already.
"""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from celeriac.pool.model import InvalidPool
from celeriac.pool.parse import parse_pool
from tests.cluster.control_plane import ControlPlane
from tests.cluster.errors import ClusterError
from tests.cluster.process import wait_until
from tests.integration.crds import CRDS, definition, wait_established
from tests.integration.test_crd import STATUS
from tests.unit.pool.bodies import Body, minimal, replaced, variants

pytestmark = pytest.mark.integration

FIRST = Path(__file__).with_name("releases") / "first" / "celeryworkerpools.yaml"
TODAY = CRDS / "celeryworkerpools.yaml"
PLURAL = "celeryworkerpools"
SINCE = (
    ("broker", "rolloutOnSecretChange"),
    ("broker", "sentinel"),
    ("worker", "rejectOnWorkerLost"),
    ("agent",),
    ("strategy",),
    ("redelivery",),
    ("deployment",),
    ("template", "spec", "containerSecurityContext"),
    ("template", "spec", "lifecycle"),
    ("template", "spec", "resourceClaims"),
    ("template", "spec", "resources", "claims"),
)
"""Fields of the spec that the first version did not have."""
SUPPLIED = {"agent": "enabled", "redelivery": {"maxAttempts": 5}}
"""What today's version says where nothing is stored."""
GONE = {"automountServiceAccountToken": False}
"""What the first version took of a Pod's spec, and today's does not: the operator always writes False."""
FIRST_STATUS = {field: STATUS[field] for field in ("selector", "idleSince", "decision", "conditions")}
"""The first version had a slip in the bounds of whole numbers, which no API server takes."""
REFUSED_NOW = {
    "a line end in a queue's name": minimal(queues=["a\u2028b"]),
    "a label that the operator writes": minimal(template={"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}),
    "a mount in the agent's folder": minimal(
        template={
            "spec": {
                "volumes": [{"name": "a", "emptyDir": {}}],
                "volumeMounts": [{"name": "a", "mountPath": "/run/celeriac"}],
            }
        }
    ),
}


class Api:
    """The API under a group of its own, at whichever version of its CRD was applied last."""

    def __init__(self, control_plane: ControlPlane, namespace: str, group: str) -> None:
        self._control_plane = control_plane
        self.namespace = namespace
        self.group = group
        self.crd = f"{PLURAL}.{group}"

    def serve(self, crd: Path, change: Callable[[Body], None] = lambda spec: None) -> None:
        """Apply a CRD under the group, its spec changed, and wait until the API server serves it so."""
        body = yaml.safe_load(crd.read_text())
        body["metadata"]["name"] = self.crd
        body["spec"]["group"] = self.group
        names = body["spec"]["names"]
        names.pop("shortNames", None)
        names.pop("categories", None)
        change(body["spec"])
        self._control_plane.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(body))
        wait_established(self._control_plane, self.crd)
        names = {version["name"] for version in body["spec"]["versions"]}
        wait_until(lambda: self._offered() == names, f"{names} in discovery", seconds=30)
        wait_until(lambda: self._knows_redelivery(max(names)) == (crd == TODAY), f"{crd} in force", seconds=30)

    def _offered(self) -> set[str]:
        """The versions in discovery, which follows the CRD."""
        try:
            found = json.loads(self._control_plane.kubectl("get", "--raw", f"/apis/{self.group}"))
        except ClusterError:
            return set()
        return {each["version"] for each in found["versions"]}

    def _knows_redelivery(self, version: str) -> bool:
        """Whether a field that came later than the first version is kept, or pruned."""
        spec = minimal(redelivery={"maxAttempts": 3})["spec"]
        options = ("--dry-run=server", "--validate=false", "--output=json")
        try:
            return "redelivery" in json.loads(self.create("probe", spec, *options, version=version))["spec"]
        except ClusterError:
            return False

    def storage_hash(self) -> str:
        """Which version objects are written in, as discovery tells it; it follows the CRD."""
        found = json.loads(self._control_plane.kubectl("get", "--raw", f"/apis/{self.group}/v1alpha1"))
        return next(str(each["storageVersionHash"]) for each in found["resources"] if each["name"] == PLURAL)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self._control_plane.kubectl("--namespace", self.namespace, *arguments, stdin=stdin)

    def create(self, name: str, spec: Body, *options: str, version: str = "v1alpha1") -> str:
        body = {"apiVersion": f"{self.group}/{version}", "kind": "CeleryWorkerPool", "metadata": {"name": name}}
        return self.kubectl("create", *options, "-f", "-", stdin=yaml.safe_dump({**body, "spec": spec}))

    def get(self, name: str, version: str = "v1alpha1") -> Body:
        return dict(json.loads(self.kubectl("get", f"{PLURAL}.{version}.{self.group}/{name}", "--output=json")))

    def touch(self, name: str, version: str = "v1alpha1") -> None:
        """A change that has nothing to do with the spec: who labels a pool must not have to mend it first."""
        self.kubectl("label", "--overwrite", f"{PLURAL}.{version}.{self.group}/{name}", f"touched={version}")

    def stored_versions(self) -> list[str]:
        return list(definition(self._control_plane, self.crd)["status"]["storedVersions"])


@pytest.fixture
def served(control_plane: ControlPlane, namespace: str) -> Iterator[Api]:
    api = Api(control_plane, namespace, f"{namespace}.example.com")
    yield api
    control_plane.kubectl("delete", "crd", api.crd, "--ignore-not-found")


def at_first(spec: Body) -> Body:
    """A spec without what the first version did not have."""
    left = copy.deepcopy(spec)
    for *above, field in SINCE:
        parent: Any = left
        for step in above:
            parent = parent.get(step, {})
        parent.pop(field, None)
    if "template" in left:  # a quantity was a whole number or a text
        left["template"]["spec"]["resources"]["requests"]["cpu"] = "500m"
    return left


def test_pools_that_the_first_version_stored_are_read_by_this_one(served: Api) -> None:
    served.serve(FIRST)
    specs = {f"pool-{number}": at_first(body["spec"]) for number, body in enumerate(variants())}
    for name, spec in specs.items():
        served.create(name, spec)
    path = ("template", "spec", "automountServiceAccountToken")
    served.create("with-token", replaced(at_first(variants()[0]["spec"]), path, False))
    served.kubectl("patch", served.crd, "pool-0", "--subresource=status", "--type=merge", "-p", patch(FIRST_STATUS))
    before = {name: served.get(name) for name in (*specs, "with-token")}
    assert before["with-token"]["spec"]["template"]["spec"].items() >= GONE.items()

    served.serve(TODAY)
    for name, stored in before.items():
        now = served.get(name)
        served.touch(name)
        expected = copy.deepcopy(stored["spec"])
        if name == "with-token":
            del expected["template"]["spec"]["automountServiceAccountToken"]
        expected |= SUPPLIED
        assert now["spec"] == expected
        assert now["metadata"]["generation"] == 1, "nothing was changed by reading it"
        assert parse_pool(now) == parse_pool({**now, "spec": expected})
    assert served.get("pool-0")["status"] == before["pool-0"]["status"]
    assert served.stored_versions() == ["v1alpha1"]


@pytest.mark.full
def test_what_would_be_refused_today_is_kept_named_and_can_be_mended(served: Api) -> None:
    served.serve(FIRST)
    for number, body in enumerate(REFUSED_NOW.values()):
        served.create(f"odd-{number}", body["spec"])
    served.serve(TODAY)
    for number, what in enumerate(REFUSED_NOW):
        name = f"odd-{number}"
        served.touch(name)
        with pytest.raises(InvalidPool):
            parse_pool(served.get(name))
        with pytest.raises(ClusterError, match="is invalid"):
            served.create(f"new-{number}", REFUSED_NOW[what]["spec"], "--dry-run=server")
        change = json.dumps({"spec": {"queues": ["a"], "template": None}})
        served.kubectl("patch", served.crd, name, "--type=merge", "-p", change)
        parse_pool(served.get(name))


@pytest.mark.full
def test_v1beta1_comes_beside_v1alpha1_with_one_schema_and_without_conversion(served: Api) -> None:
    """The way that docs/api-stability.md promises, step by step."""
    served.serve(TODAY)
    spec = variants()[0]["spec"]
    served.create("old", spec)
    stored = served.get("old")

    def beside(crd: Body, *, stores: str, alpha: bool = True) -> None:
        [version] = crd["versions"]
        crd["versions"] = [
            {**copy.deepcopy(version), "name": name, "storage": name == stores, "served": served_}
            for name, served_ in (("v1alpha1", alpha), ("v1beta1", True))
        ]

    served.serve(TODAY, lambda crd: beside(crd, stores="v1alpha1"))
    assert served.get("old", "v1beta1")["spec"] == stored["spec"]

    before = served.storage_hash()
    served.serve(TODAY, lambda crd: beside(crd, stores="v1beta1"))
    wait_until(lambda: served.storage_hash() != before, "v1beta1 stored", seconds=30)
    assert served.get("old")["spec"] == served.get("old", "v1beta1")["spec"] == stored["spec"]
    served.touch("old", "v1beta1")
    parse_pool(served.get("old", "v1beta1"))
    assert served.get("old")["metadata"]["generation"] == 1, "no rollout comes of another version"
    assert set(served.stored_versions()) == {"v1alpha1", "v1beta1"}

    status = json.dumps({"status": {"storedVersions": ["v1beta1"]}})
    served.kubectl("patch", "crd", served.crd, "--subresource=status", "--type=merge", "-p", status)

    def only_beta(crd: Body) -> None:
        [version] = crd["versions"]
        crd["versions"] = [{**version, "name": "v1beta1"}]

    served.serve(TODAY, only_beta)
    assert served.get("old", "v1beta1")["spec"] == stored["spec"]


def patch(status: Body) -> str:
    return json.dumps({"status": status})
