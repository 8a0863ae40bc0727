"""One pool, by its namespace and its name: what it does, why, and how its tasks fare."""

from typing import Any, Final

from tests.dashboards.board import (
    CLUSTER,
    ENDED,
    FAILED,
    JOB,
    ONE_NAMESPACE,
    ONE_POOL,
    POOL_BOARD,
    TRUE,
    UNKNOWN,
    annotation,
    board,
    line,
    of_pools,
    row,
)
from tests.dashboards.fleet import FAILING, column, steps
from tests.dashboards.panels import (
    BAD_ABOVE_ZERO,
    BLUE,
    DIRECTIONS,
    GREEN,
    GREY,
    ORANGE,
    RED,
    STATES,
    YELLOW,
    Json,
    Query,
    fixed,
    mapping,
    named,
    override,
    series,
    stat,
    table,
    timeline,
)

RATE: Final = "$__rate_interval"
OF_THE_POOL: Final = 'cluster=~"$cluster", namespace=~"$namespace", pool=~"$pool"'
CALM: Final = {
    GREEN: "WithinTarget|NoChange",
    GREY: "Idle|ScaleToZero|ScaleToZeroPending",
    BLUE: "Backlog|DemandFell|Stabilized|Draining|TasksInFlight",
    YELLOW: "Pinned|Paused|DryRun|RolloutInProgress",
    RED: "BrokerUnreadable|Fallback|FailedUpdateScale|AnotherWriter",
}
"""Reasons of decisions by what they are to a person who looks."""


def one(metric: str, *more: str, by: str = "") -> str:
    """A gauge of the pool, of whichever replica leads."""
    return f"max by ({by}) ({of_pools(metric, *more)})" if by else f"max({of_pools(metric, *more)})"


def rate(metric: str, *more: str, by: str = "", how: str = "rate") -> str:
    """How fast a counter of the pool grows."""
    grown = f"({how}({of_pools(metric, *more)}[{RATE}]))"
    return f"sum by ({by}) {grown}" if by else f"sum{grown}"


def quantile(part: float, metric: str, by: str = "le") -> str:
    """A quantile of a histogram of the pool's tasks."""
    return f"histogram_quantile({part}, sum by ({by}) (rate({of_pools(f'{metric}_bucket')}[{RATE}])))"


RUNS_FAILED: Final = rate("tasks_total", FAILED)
RUNS_ENDED: Final = rate("tasks_total", ENDED)
MISSING: Final = {None: GREEN, 1: YELLOW}


def now() -> list[Json]:
    """The numbers on top."""
    desired, ready = one("pool_desired_replicas"), one("pool_ready_replicas")
    return [
        stat(
            "Decision",
            "The reason of the last decision. `kubectl describe cwp` has the sentence.",
            Query(f"{one('pool_decision', by='reason')} == 1", "{{reason}}", instant=True),
            mode="name",
            no_value="none",
        ),
        stat("Ready pods", "Pods whose worker consumes.", Query(ready)),
        stat(
            "Pods to come",
            "Pods that are asked for and not ready.",
            Query(f"clamp_min({desired} - {ready}, 0)"),
            steps=MISSING,
        ),
        stat(
            "Waiting", "Messages in the lists of its queues.", Query(f"sum({one('queue_waiting_tasks', by='queue')})")
        ),
        stat(
            "Oldest over target",
            "How many times the target the oldest task has waited.",
            Query(f"{one('pool_oldest_task_seconds')} / {one('pool_target_wait_seconds')}"),
            unit="short",
            steps={None: GREEN, 1: YELLOW, 2: RED},
            decimals=1,
            no_value="no target",
        ),
        stat(
            "Slots in use",
            "Tasks that run, of those that could.",
            Query(f"{one('pool_running_tasks')} / ({one('pool_slots')} > 0)"),
            unit="percentunit",
            no_value="none",
        ),
        stat(
            "Failing",
            "Which part of the runs failed.",
            Query(f"{RUNS_FAILED} / ({RUNS_ENDED} > 0)"),
            unit="percentunit",
            steps={None: GREEN, 0.01: YELLOW, 0.1: RED},
            no_value="no runs",
        ),
        stat(
            "Dead letters",
            "Messages that killed workers too often.",
            Query(f"sum({one('queue_dead_letters', by='queue')})"),
            steps=BAD_ABOVE_ZERO,
        ),
    ]


def queue_over_replicas() -> Json:
    """What there is to do, over who is there to do it."""
    replicas = override(
        "byFrameRefID",
        "B",
        custom__axisPlacement="right",
        custom__lineWidth=2,
        custom__fillOpacity=0,
        color=fixed(ORANGE),
    )
    return series(
        "Queue length over replicas",
        "Messages in each queue (left), and the pool's replicas (right).",
        Query(one("queue_waiting_tasks", by="queue"), "{{queue}}"),
        Query(one("pool_replicas"), "replicas"),
        overrides=[replicas],
    )


def decisions() -> Json:
    """Which reason held when."""
    rows = [
        override("byRegexp", f"^({reasons})$", mappings=mapping({1: ("decided", color)}), color=fixed(color))
        for color, reasons in CALM.items()
    ]
    return timeline(
        "Decisions",
        "A row for each reason, filled while it was that of the last decision. Red: not scaled; yellow: waits for you.",
        Query(f"{one('pool_decision', by='reason')} == 1", "{{reason}}"),
        {1: ("decided", BLUE)},
        rows,
    )


def conditions() -> Json:
    """Which condition held when."""
    good = {0: ("False", RED), 1: ("True", GREEN), 2: ("Unknown", GREY)}
    others = {
        "^Stalled$": {0: ("False", GREEN), 1: ("True", RED), 2: ("Unknown", GREY)},
        "^AgentDegraded$": {0: ("False", GREEN), 1: ("True", ORANGE), 2: ("Unknown", GREY)},
        "^(Reconciling|Draining)$": {0: ("False", GREEN), 1: ("True", BLUE), 2: ("Unknown", GREY)},
        "^ScalingLimited$": {0: ("False", GREEN), 1: ("True", YELLOW), 2: ("Unknown", GREY)},
    }
    true, unknown = (one("pool_condition", status, by="type") for status in (TRUE, UNKNOWN))
    return timeline(
        "Conditions",
        "The conditions of the pool: green is as it should be, red wants somebody.",
        Query(f"{true} + 2 * {unknown}", "{{type}}"),
        good,
        [override("byRegexp", types, mappings=mapping(words)) for types, words in others.items()],
    )


def tasks_table() -> Json:
    """A row for each task name."""
    runtime = of_pools("task_runtime_seconds_sum"), of_pools("task_runtime_seconds_count")
    mean = f"sum by (task) (rate({runtime[0]}[{RATE}])) / (sum by (task) (rate({runtime[1]}[{RATE}])) > 0)"
    failed, ended = (rate("tasks_total", state, by="task") for state in (FAILED, ENDED))
    return table(
        "Tasks by name",
        "The busiest names; all others are one, `other`. Failing is a part of the runs that ended.",
        column(rate("tasks_total", by="task"), "Runs/s"),
        column(f"{failed} / ({ended} > 0)", "Failing"),
        column(mean, "Mean runtime"),
        column(quantile(0.99, "task_runtime_seconds", by="le, task"), "Runtime p99"),
        column(quantile(0.99, "task_wait_seconds", by="le, task"), "Wait p99"),
        labels={"task": "Task"},
        sort="Runs/s",
        overrides=[
            named("Runs/s", unit="cps"),
            named(
                "Failing",
                unit="percentunit",
                thresholds={"mode": "absolute", "steps": steps(FAILING)},
                custom__cellOptions={"type": "color-background", "mode": "basic"},
            ),
            *(named(name, unit="s") for name in ("Mean runtime", "Runtime p99", "Wait p99")),
        ],
    )


def tasks() -> list[Any]:
    """How the tasks fare."""
    return [
        row("Tasks"),
        line(
            8,
            series(
                "Runs by state",
                "Runs that ended, per second.",
                Query(rate("tasks_total", by="state"), "{{state}}"),
                unit="cps",
                stacked=True,
                overrides=STATES,
            ),
            series(
                "Runs that did not succeed, by task",
                "Failed, retried, revoked and rejected, per second.",
                Query(rate("tasks_total", 'state!="succeeded"', by="task, state"), "{{task}} {{state}}"),
                unit="cps",
            ),
            series(
                "Runtime",
                "How long a run takes, of all tasks.",
                *(Query(quantile(part, "task_runtime_seconds"), f"p{part * 100:g}") for part in (0.5, 0.9, 0.99)),
                unit="s",
            ),
        ),
        (
            8,
            [
                (16, tasks_table()),
                (
                    8,
                    series(
                        "Wait from sending to starting",
                        "Of messages that tell when they were sent; by the clocks of the sender and of the worker.",
                        *(Query(quantile(part, "task_wait_seconds"), f"p{part * 100:g}") for part in (0.5, 0.9, 0.99)),
                        unit="s",
                    ),
                ),
            ],
        ),
    ]


def work() -> list[Any]:
    """What the pool does, and why."""
    return [
        row("Queues and pods"),
        line(9, queue_over_replicas()),
        line(7, decisions(), conditions()),
        line(
            8,
            series(
                "Pods: desired, actual, ready",
                "Replicas that were decided for, that the Deployment wants, that consume.",
                Query(one("pool_desired_replicas"), "desired"),
                Query(one("pool_replicas"), "replicas"),
                Query(one("pool_ready_replicas"), "ready"),
            ),
            series(
                "Running tasks and slots",
                "Tasks that run, and that could run at a time.",
                Query(one("pool_running_tasks"), "running"),
                Query(one("pool_slots"), "slots"),
            ),
            series(
                "Age of the oldest task",
                "How long the oldest waiting task has waited, and the target.",
                Query(one("pool_oldest_task_seconds"), "oldest"),
                Query(one("pool_target_wait_seconds"), "target"),
                unit="s",
                overrides=[named("target", color=fixed(RED), custom__fillOpacity=0)],
            ),
        ),
        line(
            8,
            series(
                "Arrivals and departures",
                "Tasks that come and that end, 30 s moving averages, as the decisions see them.",
                Query(one("pool_arrival_rate"), "arrivals"),
                Query(one("pool_departure_rate"), "departures"),
                unit="cps",
            ),
            series(
                "At workers",
                "Messages of each queue at workers: due, kept for their ETA; received and not started, of all.",
                Query(one("queue_held_tasks", by="queue"), "{{queue}} held"),
                Query(one("queue_scheduled_tasks", by="queue"), "{{queue}} for their ETA"),
                Query(one("pool_reserved_tasks"), "reserved"),
            ),
            series(
                "Runtime and cold start",
                "What decisions reckon with: how long a task has a slot, how long a pod takes to consume.",
                Query(one("pool_task_runtime_seconds"), "a task"),
                Query(one("pool_cold_start_seconds"), "a cold start"),
                unit="s",
            ),
        ),
        line(
            7,
            series(
                "Decisions per second",
                "Decisions by their reason. A pool at rest needs none at most ticks.",
                Query(rate("pool_decisions_total", by="reason"), "{{reason}}"),
                unit="cps",
                stacked=True,
            ),
            series(
                "Pods added and removed",
                "Scalings, in pods.",
                Query(rate("pool_scaled_pods_total", by="direction", how="increase"), "{{direction}}"),
                overrides=DIRECTIONS,
            ),
        ),
    ]


def trouble() -> list[Any]:
    """What may be wrong."""
    return [
        row("Trouble"),
        line(
            8,
            series(
                "Pods that drain or do not end",
                "Pods that take no new task; that are Terminating and stay; tasks in pods that nobody counts.",
                Query(one("pool_draining_pods"), "draining"),
                Query(one("pool_stuck_pods"), "stuck"),
                Query(one("pool_ending_tasks"), "ending tasks"),
            ),
            series(
                "Oldest drain",
                "For how long the pod that drains the longest has done so.",
                Query(one("pool_oldest_drain_seconds"), "oldest drain"),
                unit="s",
            ),
            series(
                "Workers that do not do all they should",
                "Silent, not fetching, started anew, refused by Redis; agents that fail; counts not read.",
                Query(one("pool_silent_workers"), "silent"),
                Query(one("pool_not_fetching_workers"), "not fetching"),
                Query(one("pool_degraded_workers"), "degraded"),
                Query(one("pool_missing_hooks", by="hook"), "misses {{hook}}"),
                Query(one("pool_refused_workers"), "refused"),
                Query(one("pool_agent_errors"), "errors of agents"),
                Query(rate("pool_restarted_workers_total", how="increase"), "started anew"),
                Query(one("pool_unread_task_counts"), "counts of tasks unread"),
            ),
        ),
        line(
            8,
            series(
                "Put back and dead letters",
                "Messages of dead workers: put back in their queue, or dead letters; how many of these lie.",
                Query(rate("pool_restored_messages_total", by="to", how="increase"), "to {{to}}"),
                Query(one("queue_dead_letters", by="queue"), "dead letters of {{queue}}"),
            ),
            series(
                "What could not be put back",
                "Looks for what dead workers held, or tries to put it back, that failed, by reason.",
                Query(rate("pool_recovery_failures_total", by="reason", how="increase"), "{{reason}}"),
            ),
        ),
    ]


def annotations() -> list[Json]:
    """Scalings, deploys and alerts."""
    up, down = (rate("pool_scaled_pods_total", f'direction="{way}"', how="increase") for way in ("up", "down"))
    deploys = f"max(changes({of_pools('pool_revision')}[{RATE}])) > 0"
    return [
        annotation("Scaled up", BLUE, f"{up} > 0", "Scaled up", "pods added"),
        annotation("Scaled down", "purple", f"{down} > 0", "Scaled down", "pods removed"),
        annotation("Deploys", ORANGE, deploys, "Deploy", "a rollout began"),
        annotation(
            "Alerts",
            RED,
            f'ALERTS{{alertname=~"Celeriac.+", alertstate="firing", {OF_THE_POOL}}}',
            "{{alertname}}",
            "{{severity}}",
        ),
    ]


def pool() -> Json:
    """The whole dashboard."""
    lines = [row("Now"), (4, [(3, panel) for panel in now()]), *work(), *tasks(), *trouble()]
    return board(
        POOL_BOARD,
        "Celeriac / Pool",
        "One Celery worker pool: queues, pods, decisions, tasks.",
        [CLUSTER, JOB, ONE_NAMESPACE, ONE_POOL],
        lines,
        annotations(),
    )
