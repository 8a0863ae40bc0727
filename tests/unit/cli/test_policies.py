"""What the doctor makes of the admission policies: those of the chart, and each way to be without one."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from celeriac.cli.policies import POLICIES, of_policies

pytestmark = pytest.mark.unit

USER = "system:serviceaccount:celeriac:celeriac"
Body = dict[str, Any]


def policy(name: str, user: str = USER) -> Body:
    condition = {"name": "the-operator", "expression": f"request.userInfo.username == '{user}'"}
    return {"metadata": {"name": f"celeriac.celeriac.{name}"}, "spec": {"matchConditions": [condition]}}


def binding(name: str) -> Body:
    return {"spec": {"policyName": f"celeriac.celeriac.{name}", "validationActions": ["Deny"]}}


EVERY = [policy(name) for name in POLICIES]
BOUND = [binding(name) for name in POLICIES]
PODS = POLICIES.index("pods")


def test_an_operator_that_all_policies_hold_is_well() -> None:
    finding = of_policies(USER, 200, EVERY, BOUND)
    assert (finding.mark, USER in finding.message) == ("ok", True)


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("missing", lambda policies, _: policies.pop(PODS)),
        ("missing", lambda policies, _: policies.__setitem__(PODS, policy("pods", f"{USER}-2"))),
        ("lets pass what it fails on", lambda policies, _: policies[PODS]["spec"].update(failurePolicy="Ignore")),
        ("not bound", lambda _, bindings: bindings.pop(PODS)),
        ("does not deny", lambda _, bindings: bindings[PODS]["spec"].update(validationActions=["Warn", "Audit"])),
        (
            "bound to a part only",
            lambda _, bindings: bindings[PODS]["spec"].update(
                matchResources={"namespaceSelector": {"matchLabels": {"team": "shop"}}}
            ),
        ),
    ],
)
def test_one_that_does_not_hold_is_named_with_its_cure(why: str, change: Callable[[Any, Any], None]) -> None:
    policies, bindings = deepcopy(EVERY), deepcopy(BOUND)
    change(policies, bindings)
    finding = of_policies(USER, 200, policies, bindings)
    assert finding.mark == "!"
    assert f"not all hold {USER}: pods ({why}); upgrade the chart" in finding.message


def test_none_at_all_is_wrong_and_what_cannot_be_asked_is_said() -> None:
    finding = of_policies(USER, 200, [policy("pods", "system:serviceaccount:other:celeriac")], BOUND)
    assert (finding.mark, "none is about" in finding.message, "admissionPolicy.enabled" in finding.message) == (
        *("!", True, True),
    )
    finding = of_policies(USER, 404, [], [])
    assert (finding.mark, "Kubernetes 1.30" in finding.message, "docs/security.md" in finding.message) == (
        *("?", True, True),
    )
    finding = of_policies(USER, 403, [], [])
    assert (finding.mark, "ask for list on" in finding.message) == ("?", True)
