"""Why the API server refuses a Pod or a Deployment, in the words of its admission, and what to do about it."""

from typing import Final

from celeriac.api.reasons import Reason
from celeriac.cluster.cures import POD, cure

REFUSED: Final[tuple[tuple[str, Reason, str], ...]] = (
    (
        r"failed quota: (?P<quota>[\w.-]+): must specify",
        Reason.QUOTA_EXCEEDED,
        f"the ResourceQuota {{quota}} admits only Pods that say these: set them in {POD}.resources, and in each init"
        " container and sidecar, or let a LimitRange of the namespace give defaults",
    ),
    (
        r"exceeded quota: (?P<quota>[\w.-]+).*requested: (count/)?pods",
        Reason.QUOTA_EXCEEDED,
        "raise pods in the ResourceQuota {quota}",
    ),
    (
        r"exceeded quota: (?P<quota>[\w.-]+), requested: (?P<name>count/deployments[\w.]*)=",
        Reason.QUOTA_EXCEEDED,
        "raise {name} in the ResourceQuota {quota}, or delete Deployments that nobody needs",
    ),
    (
        r"exceeded quota: (?P<quota>[\w.-]+), requested: (?P<name>[\w./-]+)=",
        Reason.QUOTA_EXCEEDED,
        f"raise {{name}} in the ResourceQuota {{quota}}, or lower {POD}.resources",
    ),
    (
        r"exceeded quota",
        Reason.QUOTA_EXCEEDED,
        f"raise the ResourceQuota, or lower {POD}.resources",
    ),
    (
        r"violates PodSecurity.*(hostPath|restricted volume types|host namespaces|privileged \(|hostPort|sysctls)",
        Reason.POD_SECURITY_REFUSED,
        f"drop what it names from {POD} (volumes, sidecars, initContainers), and set spec.podSecurity: Restricted, or"
        " relax the namespace's pod-security label",
    ),
    (
        r"violates PodSecurity",
        Reason.POD_SECURITY_REFUSED,
        f"set spec.podSecurity: Restricted, which also fills in what init containers and sidecars in {POD} leave open,"
        " or relax the namespace's pod-security label",
    ),
    (
        r"(?P<way>maximum|minimum) (?P<name>[\w./-]+) usage per (?P<kind>Container|Pod) is (?P<bound>\S+?)[,.]?\s.*No"
        r" (limit|request) is specified",
        Reason.POD_REFUSED,
        f"a LimitRange of the namespace wants a {{name}} of {{bound}} as its {{way}}: set it in {POD}.resources",
    ),
    (
        r"maximum (?P<name>[\w./-]+) usage per (?P<kind>Container|Pod) is (?P<bound>\S+?),",
        Reason.POD_REFUSED,
        f"a LimitRange of the namespace allows {{bound}} of {{name}} per {{kind}}: lower {POD}.resources.limits, or"
        " raise the LimitRange",
    ),
    (
        r"minimum (?P<name>[\w./-]+) usage per (?P<kind>Container|Pod) is (?P<bound>\S+?),",
        Reason.POD_REFUSED,
        f"a LimitRange of the namespace wants {{bound}} of {{name}} per {{kind}}: raise {POD}.resources.requests, or"
        " lower the LimitRange",
    ),
    (
        r"(?P<name>[\w./-]+) max limit to request ratio",
        Reason.POD_REFUSED,
        f"a LimitRange of the namespace bounds how far the limit of {{name}} may be above its request: bring them"
        f" together in {POD}.resources",
    ),
    (
        r"serviceaccount \"?(?P<name>[\w.-]+)\"? not found",
        Reason.POD_REFUSED,
        f"create the ServiceAccount {{name}} in the pool's namespace, or correct {POD}.serviceAccountName",
    ),
    (
        r"no PriorityClass with name (?P<name>[\w.-]+) was found",
        Reason.POD_REFUSED,
        f"create the PriorityClass {{name}}, or correct {POD}.priorityClassName",
    ),
    (
        r"RuntimeClass \"?(?P<name>[\w.-]+)\"? not found",
        Reason.POD_REFUSED,
        f"create the RuntimeClass {{name}}, or correct {POD}.runtimeClassName",
    ),
    (
        r"admission webhook \"(?P<name>[\w.-]+)\" denied",
        Reason.POD_REFUSED,
        "do what the policy asks, or exempt the pool from it (whoever runs the webhook {name})",
    ),
    (
        r"ValidatingAdmissionPolicy '(?P<name>[\w.-]+)'",
        Reason.POD_REFUSED,
        "do what the ValidatingAdmissionPolicy {name} asks, or exempt the pool from it",
    ),
    (
        r"failed calling webhook \"(?P<name>[\w.-]+)\"",
        Reason.POD_REFUSED,
        "the webhook {name} does not answer: mend it (kubectl get validatingwebhookconfigurations,"
        " mutatingwebhookconfigurations), or remove its configuration",
    ),
    (r"is being terminated", Reason.POD_REFUSED, "the namespace is being deleted: nothing can be made in it any more"),
    (
        r"cannot (?P<verb>[a-z]+) resource \"(?P<name>[\w./-]+)\"",
        Reason.POD_REFUSED,
        "grant {verb} on {name} to whom the message names (the chart does so for the operator)",
    ),
    (
        r"is invalid: (?P<name>spec\.[\w.\[\]]+)|Invalid value",
        Reason.POD_REFUSED,
        "correct in spec.template what the message names",
    ),
)


def refusal_of(words: str) -> tuple[Reason, str | None]:
    """Why admission refuses a Pod, and what to do; no cure where nobody foresaw the words."""
    for pattern, reason, sentence in REFUSED:
        found = cure(((pattern, sentence),), words)
        if found is not None:
            return reason, found
    return Reason.POD_REFUSED, None


def refused_pod(words: str) -> tuple[Reason, str]:
    """The reason and the sentence for a Pod that is refused: the words, and the cure where there is one."""
    reason, found = refusal_of(words)
    return reason, f"{words}; {found}" if found else words
