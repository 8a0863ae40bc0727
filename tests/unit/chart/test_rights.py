"""What the operator may do: the program's own table, the chart's policies, and the documentation agree."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from celeriac.api.names import AGENT_VOLUME, DELETION_COST_ANNOTATION, DRAIN_ANNOTATION, POOL_LABEL
from celeriac.cli.policies import POLICIES
from celeriac.cli.rights import RIGHTS
from celeriac.cluster.events import REPORTING_CONTROLLER

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
OPERATIONS = {"create": "CREATE", "patch": "UPDATE", "update": "UPDATE", "delete": "DELETE"}
ELSEWHERE = {
    "/namespaces": ("list", "watch"),
    "/nodes": ("get",),
    "coordination.k8s.io/leases": ("get", "update", "create"),
}
"""Of the cluster, and of the operator's own namespace."""
NEVER_REQUESTED = ("celeriac.dev/celeryworkerpools/finalizers", "update")


def policies() -> Any:
    """What the chart's policies match and ask, by name."""
    text = (ROOT / "charts" / "celeriac" / "templates" / "_admission.tpl").read_text()
    body = text.split('{{- define "celeriac.admissionRules" -}}')[1].split("{{- end -}}")[0]
    without_comments = re.sub(r"^ *{{- /\*.*?\*/}}\n", "", body, flags=re.MULTILINE)
    return yaml.safe_load(re.sub(r"{{.*?}}", "x", without_comments))


def by_resource(rules: list[dict[str, Any]], key: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault(f"{group}/{resource}", set()).update(rule[key])
    return found


def documented() -> dict[str, set[str]]:
    """The rows of docs/security.md whose first cell is a resource."""
    text = (ROOT / "docs" / "security.md").read_text()
    section = text.split("## What the operator may do in a cluster")[1].split("\n### ")[0]
    found: dict[str, set[str]] = {}
    for resource, verbs in re.findall(r"^\| ([\w.]*/[\w/]+) \| ([a-z, ]+) \|", section, flags=re.MULTILINE):
        assert found.setdefault(resource, set()).isdisjoint(verbs.split(", ")), resource
        found[resource] |= set(verbs.split(", "))
    return found


def test_each_verb_is_documented_with_its_reason_and_no_other() -> None:
    assert documented() == {resource: set(verbs) for resource, verbs in (RIGHTS | ELSEWHERE).items()}


def test_each_write_has_its_place_in_the_policies_and_no_other_has() -> None:
    every = policies()
    left_open = by_resource(every.pop("other")["matchConstraints"]["excludeResourceRules"], "operations")
    reviews = {"authentication.k8s.io/*", "authorization.k8s.io/*"}
    writes: dict[str, set[str]] = {}
    for resource, verbs in (RIGHTS | ELSEWHERE).items():
        for verb in verbs:
            if verb in OPERATIONS and (resource, verb) != NEVER_REQUESTED:
                writes.setdefault(resource, set()).add(OPERATIONS[verb])
    assert {name: found for name, found in left_open.items() if name not in reviews} == writes
    checked = by_resource(
        [rule for each in every.values() for rule in each["matchConstraints"]["resourceRules"]], "operations"
    )
    own = {
        f"celeriac.dev/{name}"
        for name in ("celeryworkerpools/status", "celerypoolrequests/status", "celerypoolrequests")
    }
    assert writes.keys() - checked.keys() == own, "what is the operator's own, in kinds of its own"
    assert all(checked[name] == writes[name] for name in checked)


def test_the_policies_know_the_names_that_the_program_writes_and_the_doctor_knows_theirs() -> None:
    every = policies()
    assert sorted(every) == sorted(POLICIES)
    (own,) = (each["expression"] for each in every["pods"]["variables"] if each["name"] == "own")
    assert own == str([DRAIN_ANNOTATION, DELETION_COST_ANNOTATION])
    assert f"'{POOL_LABEL}=' + oldObject.metadata.name" in every["scales"]["validations"][0]["expression"]
    assert f"substring({len(POOL_LABEL) + 1})" in every["scales"]["validations"][0]["expression"]
    assert f"'{REPORTING_CONTROLLER}'" in every["events"]["validations"][0]["expression"]
    assert f"'{AGENT_VOLUME}-' + " in str(every["configmaps"]["variables"])
