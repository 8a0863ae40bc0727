"""The first look: all pools, those that hurt the most first."""

from typing import Final

from tests.dashboards.board import (
    CLUSTER,
    ENDED,
    FAILED,
    FALSE,
    JOB,
    LABELS,
    NAMESPACE,
    POOL,
    TRUE,
    board,
    line,
    most,
    of_operator,
    of_pools,
    pool_link,
    row,
)
from tests.dashboards.panels import (
    BAD_ABOVE_ZERO,
    DIRECTIONS,
    GREEN,
    ORANGE,
    RED,
    STATES,
    YELLOW,
    Json,
    Query,
    Steps,
    named,
    series,
    stat,
    table,
    tiles,
)

READY: Final = 'type="Ready"'
UNREADABLE: Final = most("pool_condition", 'type="BrokerReachable"', FALSE)
STALLED: Final = most("pool_condition", 'type="Stalled"', TRUE)
MISSING: Final = f"clamp_min({most('pool_desired_replicas')} - {most('pool_ready_replicas')}, 0)"
DEAD: Final = f"sum by ({LABELS}) ({most('queue_dead_letters', by=f'{LABELS}, queue')})"
SILENT: Final = f"({most('pool_silent_workers')} + {most('pool_not_fetching_workers')})"
LATE: Final = f"({most('pool_oldest_task_seconds')} / ({most('pool_target_wait_seconds')} > 0))"
NONE: Final = f"0 * {most('pool_condition', READY, TRUE)}"
RUNS_FAILED: Final = of_pools("tasks_total", FAILED)
RUNS_ENDED: Final = of_pools("tasks_total", ENDED)
QUEUES: Final = f"max by (cluster, namespace, queue) ({of_pools('queue_waiting_tasks')})"
SCALED: Final = of_pools("pool_scaled_pods_total")
ALL_TASKS: Final = of_pools("tasks_total")


def hurts() -> str:
    """How much a pool is in need, from 0: the heaviest trouble counts the most, and each pool has a value."""
    parts = [
        f"1000 * ({UNREADABLE} or {NONE})",
        f"500 * ({STALLED} or {NONE})",
        f"100 * (clamp_max({DEAD}, 1) or {NONE})",
        f"100 * (clamp_max({SILENT}, 1) or {NONE})",
        f"10 * (clamp_max({LATE}, 9) or {NONE})",
        f"(clamp_max({MISSING}, 9) or {NONE})",
    ]
    return "\n+ ".join(parts)


NAMED: Final = {"cluster": "Cluster", "namespace": "Namespace", "pool": "Pool"}
HURTS: Final = (
    "1000: its broker cannot be read; 500: it is Stalled; 100 each: dead letters, workers that do not respond; 10 for"
    " each time that the oldest task has waited the target, 90 at most; 1 for each pod still to come, 9 at most."
)
PAIN: Final = {None: GREEN, 1: YELLOW, 20: ORANGE, 100: RED}


ONCE: Final = "A queue that several pools share counts once."


def column(expr: str, name: str) -> Query:
    """A column of a table."""
    return Query(expr, instant=True, column=name)


def pools() -> Json:
    """The table of pools."""
    failed, ended = (f"sum by ({LABELS}) (rate({runs}[$__rate_interval]))" for runs in (RUNS_FAILED, RUNS_ENDED))
    link = pool_link("${__data.fields.Namespace}", "${__data.fields.Pool}")
    colored = {"custom__cellOptions": {"type": "color-background", "mode": "basic"}}
    return table(
        "Pools, by what hurts",
        f"All pools, those in need first. Hurts: {HURTS} A click on a pool opens its dashboard.",
        column(hurts(), "Hurts"),
        column(f"sum by ({LABELS}) ({most('queue_waiting_tasks', by=f'{LABELS}, queue')})", "Waiting"),
        column(most("pool_oldest_task_seconds"), "Oldest"),
        column(most("pool_running_tasks"), "Running"),
        column(most("pool_slots"), "Slots"),
        column(most("pool_desired_replicas"), "Desired"),
        column(most("pool_ready_replicas"), "Ready"),
        column(most("pool_draining_pods"), "Draining"),
        column(DEAD, "Dead"),
        column(f"sum by ({LABELS}) (rate({ALL_TASKS}[$__rate_interval]))", "Tasks/s"),
        column(f"{failed} / ({ended} > 0)", "Failing"),
        labels=NAMED,
        sort="Hurts",
        overrides=[
            named("Pool", links=[link]),
            named("Hurts", thresholds={"mode": "absolute", "steps": steps(PAIN)}, decimals=0, **colored),
            named("Oldest", unit="s"),
            named("Tasks/s", unit="cps"),
            named("Failing", unit="percentunit", thresholds={"mode": "absolute", "steps": steps(FAILING)}, **colored),
            named(
                "Dead",
                thresholds={"mode": "absolute", "steps": steps({None: "transparent", 1: RED})},
                **colored,
            ),
        ],
    )


GOOD: Final = (
    *("Ready", "BrokerReachable", "ScalingActive", "WorkersResponding"),
    *("BrokerDurable", "DrainLongEnough", "PodsEnd", "LateTasksSafe"),
)
"""Conditions that are True where all is well."""
FAILING: Final = {None: "transparent", 0.01: YELLOW, 0.1: RED}


def steps(colors: Steps) -> list[Json]:
    """The steps of thresholds."""
    return [{"color": color, "value": value} for value, color in colors.items()]


def wrong() -> Json:
    """The table of conditions that are not as they should be."""
    good = f'type=~"{"|".join(GOOD)}"'
    bad = 'type=~"Stalled|AgentDegraded"'
    by = f"{LABELS}, type, status"
    expr = f"{most('pool_condition', good, FALSE, by=by)} == 1 or {most('pool_condition', bad, TRUE, by=by)} == 1"
    return table(
        "What is not as it should be",
        "Conditions of pools. `kubectl describe cwp` has the reason of each, and the cure.",
        column(expr, "-"),
        labels={**NAMED, "type": "Condition", "status": "Status"},
        sort="Condition",
        overrides=[named("Pool", links=[pool_link("${__data.fields.Namespace}", "${__data.fields.Pool}")])],
    )


def fleet() -> Json:
    """The whole dashboard."""
    waiting = f"sum({QUEUES})"
    failing = f"sum(rate({RUNS_FAILED}[$__rate_interval])) / (sum(rate({RUNS_ENDED}[$__rate_interval])) > 0)"
    numbers = [
        stat("Pools", "Pools that the operator knows.", Query(f"count({most('pool_condition', READY)})")),
        stat(
            "Leaders",
            "Replicas of operators that lead: one for each operator. None: nothing scales.",
            Query(f"sum({of_operator('leader')})"),
            steps={None: RED, 1: GREEN},
        ),
        stat(
            "In need",
            "Pools whose broker cannot be read, that are Stalled, have dead letters or workers that do not respond.",
            Query(f"count(({hurts()}) >= 100) or vector(0)"),
            steps=BAD_ABOVE_ZERO,
        ),
        stat("Waiting tasks", f"Messages in the lists of all queues. {ONCE}", Query(waiting)),
        stat(
            "Running tasks",
            "Tasks that workers hold and have not finished.",
            Query(f"sum({most('pool_running_tasks')})"),
        ),
        stat("Ready pods", "Pods whose worker consumes.", Query(f"sum({most('pool_ready_replicas')})")),
        stat(
            "Pods to come",
            "Pods that pools ask for and do not have yet.",
            Query(f"sum({MISSING})"),
            steps={None: "text", 1: YELLOW},
        ),
        stat(
            "Tasks per second",
            "Runs that ended, in all states.",
            Query(f"sum(rate({ALL_TASKS}[$__rate_interval]))"),
            unit="cps",
        ),
        stat(
            "Failing",
            "Which part of the runs failed.",
            Query(failing),
            unit="percentunit",
            steps={None: GREEN, 0.01: YELLOW, 0.1: RED},
        ),
    ]
    tile_link = pool_link("${__field.labels.namespace}", "${__field.labels.pool}")
    lines = [
        row("Now"),
        (4, list(zip((2, 2, 2, *[3] * 6), numbers, strict=True))),
        line(
            8,
            tiles(
                "All pools at a glance",
                f"A tile for each pool, those in need first. Colours by how much it hurts. {HURTS}",
                Query(f"sort_desc({hurts()})", "{{namespace}}/{{pool}}", instant=True),
                steps=PAIN,
                links=[tile_link],
            ),
        ),
        (10, [(16, pools()), (8, wrong())]),
        row("Over time"),
        line(
            8,
            series(
                "Waiting tasks by namespace",
                f"Messages in the queues' lists. {ONCE}",
                Query(f"sum by (cluster, namespace) ({QUEUES})", "{{namespace}}"),
                stacked=True,
            ),
            series(
                "Ready pods by namespace",
                "Pods whose worker consumes.",
                Query(f"sum by (cluster, namespace) ({most('pool_ready_replicas')})", "{{namespace}}"),
                stacked=True,
            ),
        ),
        line(
            8,
            series(
                "Longest waits over the target",
                "How many times the target the oldest task has waited, of the ten pools with the most.",
                Query(f"topk(10, {LATE})", "{{namespace}}/{{pool}}"),
                steps={None: "transparent", 1: RED},
                line_at_thresholds=True,
            ),
            series(
                "Tasks that ended",
                "Runs per second by how they ended.",
                Query(f"sum by (state) (rate({ALL_TASKS}[$__rate_interval]))", "{{state}}"),
                unit="cps",
                stacked=True,
                overrides=STATES,
            ),
            series(
                "Pods added and removed",
                "Scalings of all pools, in pods.",
                Query(f"sum by (direction) (increase({SCALED}[$__rate_interval]))", "{{direction}}"),
                overrides=DIRECTIONS,
            ),
        ),
    ]
    return board(
        "celeriac-fleet",
        "Celeriac / Fleet",
        "All Celery worker pools, those that hurt the most first.",
        [CLUSTER, JOB, NAMESPACE, POOL],
        lines,
    )
