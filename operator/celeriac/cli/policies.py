"""What `kubectl celery doctor` makes of the admission policies for the operator's ServiceAccount; pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from celeriac.api.words import first_of
from celeriac.cli.findings import Finding

Body = Mapping[str, Any]

POLICIES: Final = ("configmaps", "deployments", "events", "leases", "other", "pods", "scales")
"""The last part of the names that the chart gives its policies."""

_ALONE: Final = "its roles alone say what the operator may write, which is nearly everything: see docs/security.md"
_CURE: Final = "upgrade the chart with admissionPolicy.enabled, unless policies of your own say the same"
_NARROW: Final = ("namespaceSelector", "objectSelector", "excludeResourceRules", "resourceRules")


def of_policies(user: str, status: int, policies: Sequence[Body], bindings: Sequence[Body]) -> Finding:
    """Whether each policy of the chart is there for this user, and bound; `status` is what the API server answered."""
    if status == 404:
        have = "this API server has no ValidatingAdmissionPolicies (they come with Kubernetes 1.30)"
        return Finding("?", f"policies: {have}, {_ALONE}")
    if status != 200:
        what = "validatingadmissionpolicies and validatingadmissionpolicybindings"
        return Finding("?", f"policies: they may not be read (HTTP {status}); ask for list on {what}")
    about = [each for each in policies if _is_about(each, user)]
    if not about:
        return Finding("!", f"policies: none is about {user}, {_ALONE}; {_CURE}")
    wrong = [f"{name} ({why})" for name in POLICIES if (why := _wrong(name, about, bindings))]
    if wrong:
        return Finding("!", f"policies: not all hold {user}: {first_of(wrong, len(POLICIES))}; {_CURE}")
    return Finding("ok", f"policies: {user} may write what the operator writes, and nothing else")


def _is_about(policy: Body, user: str) -> bool:
    conditions = policy["spec"].get("matchConditions") or ()
    return any(f"'{user}'" in each["expression"] for each in conditions)


def _wrong(name: str, policies: Sequence[Body], bindings: Sequence[Body]) -> str | None:
    """Why no policy of this name holds; None where one does."""
    named = [each for each in policies if each["metadata"]["name"].rpartition(".")[2] == name]
    if not named:
        return "missing"
    refusing = [each["metadata"]["name"] for each in named if each["spec"].get("failurePolicy", "Fail") == "Fail"]
    if not refusing:
        return "lets pass what it fails on"
    bound = [each["spec"] for each in bindings if each["spec"].get("policyName") in refusing]
    if not bound:
        return "not bound"
    denying = [each for each in bound if "Deny" in each.get("validationActions", ())]
    if not denying:
        return "does not deny"
    return "bound to a part only" if all(_is_narrow(each) for each in denying) else None


def _is_narrow(binding: Body) -> bool:
    matched = binding.get("matchResources") or {}
    return any(matched.get(key) for key in _NARROW)
