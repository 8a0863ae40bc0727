"""What the doctor makes of a CRD, a Lease, rights and pools; each finding that is wrong has its cure."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from celeriac.cli.findings import (
    Finding,
    of_own_rights,
    of_rights,
    of_the_clocks,
    of_the_cluster,
    of_the_crd,
    of_the_lease,
    of_the_pools,
    served,
)
from celeriac.cli.rights import RIGHTS, account, needed
from celeriac.cli.schema import pool_schema

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def crd(**version: Any) -> dict[str, Any]:
    given = {"name": "v1alpha1", "served": True, "schema": {"openAPIV3Schema": pool_schema()}} | version
    return {"spec": {"versions": [given]}, "status": {"conditions": [{"type": "Established", "status": "True"}]}}


def lease(seconds_ago: float, holder: str | None = "celeriac-1", **annotations: str) -> dict[str, Any]:
    renewed = (NOW - timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    metadata = {"namespace": "celeriac", "name": "celeriac", "annotations": annotations}
    return {"metadata": metadata, "spec": {"holderIdentity": holder, "renewTime": renewed}}


def told(seconds_ago: float, holder: str | None = "celeriac-1", **annotations: str) -> list[Finding]:
    given = {"celeriac.dev/operator": "1.2.3", "celeriac.dev/namespaces": "*"} | annotations
    return list(of_the_lease(lease(seconds_ago, holder, **given), NOW, "1.2.3"))


def pool(*conditions: tuple[str, str, str], generation: int = 1, **status: Any) -> dict[str, Any]:
    metadata = {"namespace": "shop", "name": "ml", "generation": generation}
    listed = [
        {"type": type_, "status": state, "reason": reason, "message": f"why {reason}", "lastTransitionTime": at(300)}
        for type_, state, reason in conditions
    ]
    return {"metadata": metadata, "status": {"observedGeneration": 1, "conditions": listed} | status}


def at(seconds_ago: float) -> str:
    return (NOW - timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


WELL = (("Ready", "True", "Ready"), ("Reconciling", "False", "Stable"), ("Stalled", "False", "NotStalled"))


def wrong(*pools: dict[str, Any], places: list[str] | None = None) -> list[str]:
    return [each.message for each in of_the_pools(pools, places, NOW) if each.mark == "!"]


def test_the_crd_of_this_release_is_well_and_each_other_is_told_with_its_cure() -> None:
    assert of_the_crd(200, crd(), pool_schema()).mark == "ok"
    older = crd(schema={"openAPIV3Schema": {"type": "object"}})
    for finding in (of_the_crd(200, older, pool_schema()), of_the_crd(404, {}, {})):
        assert (finding.mark, "kubectl apply" in finding.message) == ("!", True)
    assert of_the_crd(200, crd(name="v2"), pool_schema()).message.startswith(
        "CRD CeleryWorkerPool: it does not serve v1alpha1, but v2"
    )
    assert of_the_crd(200, crd() | {"status": {}}, pool_schema()).mark == "!"
    assert of_the_crd(403, {}, {}).mark == "?"


def test_an_operator_that_renews_its_lease_looks_and_one_that_does_not_has_not_looked_since() -> None:
    assert [each.mark for each in told(1)] == ["ok"]
    assert [each.mark for each in told(-90)] == ["ok"], "clocks differ"
    [finding] = told(900)
    assert finding.mark == "!"
    assert finding.message.startswith("operator celeriac/celeriac: no operator has looked since 2026-01-01T11:45")
    assert "15 min ago" in finding.message
    assert "kubectl -n celeriac get deployments,pods" in finding.message
    [finding] = told(1, holder=None)
    assert "no operator has looked since it was stopped" in finding.message


def test_an_operator_of_another_release_is_told_of() -> None:
    [_, finding] = told(1, **{"celeriac.dev/operator": "1.1.0"})
    assert (finding.mark, "1.1.0" in finding.message) == ("?", True)


def test_the_namespaces_that_are_served_are_those_of_all_operators() -> None:
    one, other = (lease(1, **{"celeriac.dev/namespaces": names}) for names in ("shop,billing", "media"))
    assert served([one, other]) == ["billing", "media", "shop"]
    assert served([one, lease(1, **{"celeriac.dev/namespaces": "*"})]) is None
    assert served([one, lease(1)]) is None, "an operator that does not tell may serve all"
    assert "no operator serves its namespace" in wrong(pool(*WELL), places=["media"])[0]
    assert wrong(pool(*WELL), places=["media", "shop"]) == []


def test_pools_that_are_not_as_they_should_be_are_told_once_with_the_words_of_their_conditions() -> None:
    stalled = pool(("Ready", "False", "CrashLoop"), ("Stalled", "True", "CrashLoop"), ("BrokerReachable", "True", "x"))
    assert wrong(stalled) == ["pool shop/ml: Ready False, CrashLoop: why CrashLoop (5 min ago)"]
    starting = pool(("Ready", "False", "PodsStarting"), ("Reconciling", "True", "PodsStarting"))
    pinned = pool(*WELL, ("ScalingActive", "False", "Pinned"), ("ScalingLimited", "True", "TooManyReplicas"))
    assert wrong(starting, pinned) == []
    limited = pool(*WELL, ("ScalingLimited", "True", "QuotaExceeded"))
    refused = pool(*WELL, ("ScalingActive", "False", "FailedUpdateScale"))
    assert [message.split(", ")[0] for message in wrong(limited, refused)] == [
        "pool shop/ml: ScalingLimited True",
        "pool shop/ml: ScalingActive False",
    ]


def test_pools_that_nobody_looks_at_are_told_and_those_that_are_being_deleted_are_not() -> None:
    unseen = {"metadata": pool()["metadata"], "status": {"observedGeneration": -1}}
    assert "no operator has looked at it yet" in wrong(unseen)[0]
    assert "has not seen the latest change" in wrong(pool(*WELL, generation=2))[0]
    unseen["metadata"]["deletionTimestamp"] = at(1)
    assert wrong(unseen) == []


def test_an_operator_that_serves_some_pools_says_which() -> None:
    (finding,) = told(1, **{"celeriac.dev/selector": "team=shop"})
    assert finding.message.endswith(
        "leads, 1.2.3, renewed its Lease 1 s ago, serves the whole cluster, pools with team=shop"
    )


def test_missing_rights_are_named() -> None:
    user = account("celeriac", "operator")
    assert of_rights(user, []).mark == "ok"
    missing = [str(right) for right in needed(["shop"])]
    assert missing[0] == "get celeriac.dev/celeryworkerpools in namespace shop"
    finding = of_rights(user, missing)
    assert (finding.mark, f"and {len(missing) - 8} more" in finding.message) == ("!", True)


def test_secrets_need_to_be_open_only_where_pools_live() -> None:
    """What the chart's rbac.restrictSecrets leaves is enough."""
    asked = [str(right) for right in needed([], homes=["billing", "shop"])]
    assert [each for each in asked if "secrets" in each] == [
        "get secrets in namespace billing",
        "get secrets in namespace shop",
    ]
    assert "get pods" in asked


def test_the_rights_are_those_that_the_chart_grants() -> None:
    helpers = (ROOT / "charts" / "celeriac" / "templates" / "_helpers.tpl").read_text()
    [block] = re.findall(r'define "celeriac.rules" -\}\}\n(.*?)\n\{\{- end', helpers, flags=re.DOTALL)
    rules = yaml.safe_load(re.sub(r"\{\{.*?\}\}", "", block, flags=re.DOTALL))
    granted = {f"{rule['apiGroups'][0]}/{rule['resources'][0]}": tuple(rule["verbs"]) for rule in rules}
    assert granted == RIGHTS


def test_clocks_that_differ_are_told_this_machines_and_the_operators() -> None:
    def of(own: float, operator: float) -> list[str]:
        return [str(each) for each in of_the_clocks(NOW + timedelta(seconds=own), NOW, [lease(-operator)])]

    assert of(0, 0) == ["ok clock: this machine is within 5 s of the API server"]
    assert of(0, -3000)[0].startswith("ok"), "a Lease may be old"
    assert of(12, 0)[0].startswith("!  clock: this machine is 12 s ahead of the API server")
    assert of(-60, 0)[0].startswith("!  clock: this machine is 60 s behind the API server")
    assert of(0, 30)[0].startswith("!  clock: the operator celeriac/celeriac is 30 s ahead of the API server")


def test_own_rights_that_are_missing_are_named_with_the_role_that_has_them() -> None:
    assert of_own_rights([]).mark == "ok"
    told = str(of_own_rights(["create celeriac.dev/celerypoolrequests in namespace shop"]))
    assert told.startswith("?  your rights: you may not create celeriac.dev/celerypoolrequests in namespace shop")
    assert "role edit" in told


def test_a_cluster_that_is_too_old_is_told_by_its_version() -> None:
    assert str(of_the_cluster(200, {"gitVersion": "v1.31.2+k3s1"})) == (
        "ok cluster: the API server answers, Kubernetes v1.31.2+k3s1"
    )
    assert of_the_cluster(200, {"gitVersion": "v1.28.9"}).mark == "!"
    assert of_the_cluster(403, {}).mark == "?"


def test_what_holds_for_all_pools_is_counted_and_what_nobody_knows_is_said() -> None:
    def lines(*states: str) -> list[str]:
        pools = [pool(*WELL, ("BrokerDurable", state, "x"), ("AgentDegraded", "False", "y")) for state in states]
        return [str(each) for each in of_the_pools(pools, None, NOW) if "pool shop/ml" not in each.message]

    assert lines("True", "True")[:2] == [
        "ok eviction: the brokers of 2 of 2 pools keep their keys when memory is full",
        "ok agents: those of 2 of 2 pools can do all that they promise",
    ]
    assert lines("True", "Unknown")[0].startswith("?  eviction: the brokers of 1 of 2 pools")
    assert lines("True", "Unknown")[0].endswith("; of 1 it is not known (why x)")
    assert lines("True", "False")[0].startswith("!  eviction: the brokers of 1 of 2 pools")
