"""Every reason that a condition, an event or a decision may carry: one owner, so that users can rely on them."""

from enum import StrEnum


class Reason(StrEnum):
    """A CamelCase word for programs and people; docs/troubleshooting.md explains each that is shown."""

    # Decisions (status.decision.reason, condition ScalingActive)
    WITHIN_TARGET = "WithinTarget"
    BACKLOG = "Backlog"
    DEMAND_FELL = "DemandFell"
    STABILIZED = "Stabilized"
    SCALE_TO_ZERO = "ScaleToZero"
    ZERO_PENDING = "ScaleToZeroPending"
    IDLE = "Idle"
    PINNED = "Pinned"
    PAUSED = "Paused"
    DRY_RUN = "DryRun"
    FAILED_UPDATE_SCALE = "FailedUpdateScale"
    FALLBACK = "Fallback"
    HOLDING = "BrokerUnreadable"

    # Limits (condition ScalingLimited; the first two are the HPA's own)
    TOO_MANY_REPLICAS = "TooManyReplicas"
    TOO_FEW_REPLICAS = "TooFewReplicas"
    SCALE_UP_LIMIT = "ScaleUpLimit"
    SCALE_DOWN_LIMIT = "ScaleDownLimit"
    SCALE_UP_STABILIZED = "ScaleUpStabilized"
    SCALE_DOWN_STABILIZED = "ScaleDownStabilized"
    TARGET_BELOW_COLD_START = "TargetBelowColdStart"
    DESIRED_WITHIN_RANGE = "DesiredWithinRange"

    # Plans: why a change is held
    ROLLOUT_IN_PROGRESS = "RolloutInProgress"
    TASKS_IN_FLIGHT = "TasksInFlight"
    DRAINING = "Draining"
    SCALED = "Scaled"
    SCALED_UP = "ScaledUp"
    SCALED_DOWN = "ScaledDown"
    SCALING = "ScalingFromQueues"
    NO_CHANGE = "NoChange"

    # The broker (condition BrokerReachable)
    BROKER_READABLE = "Readable"
    BROKER_CONNECTION_FAILED = "ConnectionFailed"
    BROKER_TIMEOUT = "Timeout"
    BROKER_AUTHENTICATION_FAILED = "AuthenticationFailed"
    BROKER_PERMISSION_DENIED = "PermissionDenied"
    BROKER_TLS_FAILED = "TlsFailed"
    BROKER_LOADING = "Loading"
    BROKER_BUSY = "Busy"
    BROKER_IS_REPLICA = "ReplicaNotMaster"
    BROKER_RESTARTED = "Restarted"
    BROKER_WRONG_TYPE = "WrongType"
    BROKER_URL_INVALID = "InvalidURL"
    BROKER_UNSUPPORTED = "UnsupportedBroker"
    BROKER_ERROR = "BrokerError"
    SECRET_NOT_FOUND = "SecretNotFound"
    SECRET_UNREADABLE = "SecretUnreadable"
    SECRET_KEY_NOT_FOUND = "SecretKeyNotFound"

    # The workload (conditions Ready and Progressing)
    READY = "Ready"
    SCALED_TO_ZERO = "ScaledToZero"
    PODS_STARTING = "PodsStarting"
    ROLLING_OUT = "RollingOut"
    STABLE = "Stable"
    INVALID_SPEC = "InvalidSpec"
    APPLY_FAILED = "ApplyFailed"
    NAME_TAKEN = "NameTaken"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CONTAINER_CONFIG_ERROR = "ContainerConfigError"
    START_FAILED = "StartFailed"
    CRASH_LOOP = "CrashLoop"
    QUOTA_EXCEEDED = "QuotaExceeded"
    POD_SECURITY_REFUSED = "PodSecurityRefused"
    POD_REFUSED = "PodRefused"

    # The workers, by the reports of the agent in them (conditions Ready and Draining, events)
    AGENT_MISSING = "AgentMissing"
    AGENT_DEGRADED = "AgentDegraded"
    REPORT_UNREADABLE = "ReportUnreadable"
    WORKER_MISMATCH = "WorkerMismatch"
    SIGNALS_NOT_FORWARDED = "SignalsNotForwarded"
    NOT_DRAINING = "NotDraining"
    RESTORED = "Restored"
    DEAD_LETTERED = "DeadLettered"
