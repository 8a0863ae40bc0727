"""An admission policy of one namespace that refuses to scale Deployments, as a platform may have one."""

_MANIFEST = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-scaling-NAMESPACE}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [UPDATE], resources: [deployments/scale]}]
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
    filled = _MANIFEST.replace("NAMESPACE", namespace).replace("MESSAGE", message)
    return filled.replace("EXPRESSION", unless)
