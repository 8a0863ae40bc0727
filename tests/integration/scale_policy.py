"""Admission policies of one namespace that refuse to scale Deployments, or to mark Pods, as a platform has them."""

_MANIFEST = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-scaling-NAMESPACE}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{apiGroups: ["GROUP"], apiVersions: [v1], operations: [UPDATE], resources: [RESOURCE]}]
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
  validations: [{expression: "EXPRESSION", message: MESSAGE}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-scaling-NAMESPACE}
spec: {policyName: no-scaling-NAMESPACE, validationActions: [Deny]}
"""


def scale_policy(namespace: str, message: str, *, unless: str = "false") -> str:
    """The manifests; `unless` is the expression (CEL) by which a Deployment may be scaled all the same."""
    return _filled(namespace, message, "deployments/scale", "apps", unless)


def mark_policy(namespace: str, message: str) -> str:
    """The manifests of one that lets nobody mark a Pod that is to drain."""
    marked = "has(object.metadata.annotations) && 'celeriac.dev/drain' in object.metadata.annotations"
    return _filled(namespace, message, "pods", "", f"!({marked})")


def _filled(namespace: str, message: str, resource: str, group: str, unless: str) -> str:
    words = {"NAMESPACE": namespace, "MESSAGE": message, "RESOURCE": resource, "GROUP": group, "EXPRESSION": unless}
    text = _MANIFEST
    for word, value in words.items():
        text = text.replace(word, value)
    return text
