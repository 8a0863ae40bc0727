"""The situations of a pool, and what its status says in each: the table of docs/status.md, shown on an API server."""

from dataclasses import dataclass
from enum import Enum

WELL = "False Stable"
REST = "False NotStalled"
ABSENT = "absent"


class When(Enum):
    """When a situation is looked at: at once; when its time is over; while no operator runs."""

    AT_ONCE = "at once"
    LATER = "later"
    ALONE = "alone"


@dataclass(frozen=True)
class Row:
    """One situation of the pool of this name: status and reason of its conditions, and what kstatus makes of it.

    words   what condition Ready says, or ScalingLimited where that is `limited`
    """

    pool: str
    situation: str
    ready: str
    reconciling: str = WELL
    stalled: str = REST
    broker: str = "True Readable"
    verdict: str = "Current"
    limited: str | None = None
    words: str = ""
    when: When = When.AT_ONCE

    @property
    def conditions(self) -> dict[str, str]:
        """By type, those that the table has."""
        told = {
            "Ready": self.ready,
            "Reconciling": self.reconciling,
            "Stalled": self.stalled,
            "BrokerReachable": self.broker,
        }
        return told | ({"ScalingLimited": self.limited} if self.limited else {})


def under_way(pool: str, situation: str, reason: str, *, ready: str = "", broker: str = "True Readable") -> Row:
    """Something is under way, or in the way and has its time: Ready False for the same reason, where not said."""
    return Row(pool, situation, ready or f"False {reason}", f"True {reason}", broker=broker, verdict="InProgress")


def over(pool: str, situation: str, reason: str, *, broker: str = "True Readable", when: When = When.LATER) -> Row:
    """Its time is over."""
    stalled = f"True {reason}"
    return Row(pool, situation, f"False {reason}", "False Stalled", stalled, broker, "Failed", when=when)


def unreadable(pool: str, situation: str, reason: str) -> Row:
    """At zero, with a broker that cannot be read."""
    return under_way(pool, situation, reason, broker=f"False {reason}")


ROWS = (
    # at zero
    Row("asleep", "at zero, nothing to do", "True ScaledToZero", words="a task in the queues brings them"),
    under_way("waking", "at zero, tasks arrive: pods are on their way", "PodsStarting", ready="True WakingUp"),
    under_way("waking-no-room", "the same, and they wait for a node", "Unschedulable", ready="True WakingUp"),
    over("waking-no-room", "the same, for 300 s", "Unschedulable"),
    Row("pinned-zero", "pinned to 0, tasks wait", "True ScaledToZero", words="kubectl celery resume"),
    Row("paused-zero", "mode Paused at zero, tasks wait", "True ScaledToZero", words="kubectl celery unpause"),
    Row("dry-run", "mode DryRun at zero, tasks wait", "True ScaledToZero", words="scaling.mode is DryRun"),
    Row("scaled-away", "at zero; somebody scaled the Deployment, and it was scaled back", "True ScaledToZero"),
    # the broker
    unreadable("no-secret", "at zero, the broker's Secret is missing", "SecretNotFound"),
    over("no-secret", "the same, for 60 s", "SecretNotFound", broker="False SecretNotFound"),
    unreadable("no-key", "at zero, the Secret lacks the key", "SecretKeyNotFound"),
    unreadable("wrong-password", "at zero, Redis refuses user or password", "AuthenticationFailed"),
    unreadable("no-host", "at zero, the broker's host does not resolve", "ConnectionFailed"),
    unreadable("misled", "at zero, the broker was changed to one that does not resolve", "ConnectionFailed"),
    unreadable("refuses", "at zero, nobody listens at the broker's port", "ConnectionFailed"),
    over("refuses", "the same, for 600 s", "ConnectionFailed", broker="False ConnectionFailed"),
    unreadable("no-ca", "no Deployment yet: broker.tls names a Secret that is missing", "SecretNotFound"),
    under_way(
        "broker-lost",
        "workers run, and the broker does not answer",
        "ConnectionFailed",
        ready="True Ready",
        broker="False ConnectionFailed",
    ),
    over("broker-lost", "the same, for 600 s", "ConnectionFailed", broker="False ConnectionFailed"),
    # pods
    Row("working", "as many pods consume as are wanted", "True Ready", words="2 of 2 replicas are ready"),
    under_way("burst", "some consume, more are starting for a burst", "PodsStarting", ready="True Ready"),
    Row(
        "burst-no-room",
        "some consume, the cluster has no room for more",
        "True Ready",
        limited="True Unschedulable",
        words="Insufficient cpu; add nodes, or lower cpu in spec.template.spec.resources.requests; or lower"
        " spec.scaling.maxReplicas",
    ),
    under_way("starting", "minReplicas are wanted for the first time", "PodsStarting"),
    over("starting", "the same, for 600 s", "ProgressDeadlineExceeded"),
    under_way("lost", "the only worker is not ready any more", "PodsStarting"),
    under_way("crash", "the worker keeps ending", "CrashLoop"),
    over("crash", "the same, for 60 s", "CrashLoop"),
    under_way("no-image", "the image cannot be pulled", "ImagePullFailed"),
    over("no-image", "the same, for 60 s", "ImagePullFailed"),
    under_way("no-room", "no node has room for a pod of minReplicas", "Unschedulable"),
    under_way("quota", "a quota refuses the pods", "QuotaExceeded"),
    over("quota", "the same, for 60 s", "QuotaExceeded"),
    Row(
        "quota-limits",
        "some consume, a quota refuses more",
        "True Ready",
        limited="True QuotaExceeded",
        words="raise pods in the ResourceQuota narrow; or lower spec.scaling.maxReplicas",
    ),
    under_way("strict", "the namespace's Pod Security level refuses the pods", "PodSecurityRefused"),
    over("strict", "the same, for 60 s", "PodSecurityRefused"),
    # rollouts
    under_way("rollout", "a rollout, the old pods consume", "RollingOut", ready="True Ready"),
    over("rollout", "the same, and nothing moves for 600 s", "ProgressDeadlineExceeded"),
    under_way("bad-rollout", "a rollout to an image that is not there", "ImagePullFailed", ready="True Ready"),
    over("bad-rollout", "the same, for 60 s", "ImagePullFailed"),
    under_way("halted", "somebody paused the Deployment", "DeploymentPaused", ready="True Ready"),
    over("halted", "the same, for 60 s", "DeploymentPaused"),
    Row("hands-off", "mode Paused, somebody scaled the Deployment", "True Ready", words="1 of 1 replicas are ready"),
    # what the operator cannot do
    over("invalid", "the spec cannot be run", "InvalidSpec", broker="Unknown InvalidSpec", when=When.AT_ONCE),
    under_way("misfit", "the API server refuses the Deployment", "ApplyFailed"),
    over("misfit", "the same, for 60 s", "ApplyFailed"),
    under_way("hooked", "an admission webhook for Deployments cannot be reached", "ApiServerError"),
    over("hooked", "the same, for 60 s", "ApiServerError"),
    under_way("taken", "a Deployment of the name belongs to somebody else", "NameTaken"),
    over("taken", "the same, for 60 s", "NameTaken"),
    under_way("bolted", "at zero, the replicas may not be written, tasks wait", "FailedUpdateScale"),
    over("bolted", "the same, for 60 s", "FailedUpdateScale"),
    # nobody looks
    Row("unseen", "no operator has seen the pool", ABSENT, ABSENT, ABSENT, ABSENT, "InProgress"),
    Row(
        "changed",
        "the spec was changed, and no operator runs",
        "True ScaledToZero",
        verdict="InProgress",
        when=When.ALONE,
    ),
    Row("leaving", "the pool is being deleted", "True ScaledToZero", verdict="Terminating"),
)
