"""The operator itself: does it lead, keep up, read its brokers, and get on with the API server."""

from typing import Any

from tests.dashboards.board import CLUSTER, INSTANCE, JOB, OPERATOR, annotation, board, line, row
from tests.dashboards.panels import GREEN, RED, YELLOW, Json, Query, series, stat, table

RATE = "$__rate_interval"
CHOSEN = f'{OPERATOR}, instance=~"$instance"'


def own(metric: str) -> str:
    """A metric of the replicas that are chosen."""
    return f"{metric}{{{CHOSEN}}}"


def quantile(part: float, metric: str, *by: str) -> str:
    """A quantile of a histogram."""
    return f"histogram_quantile({part}, sum by ({', '.join(('le', *by))}) (rate({own(f'{metric}_bucket')}[{RATE}])))"


def growth(metric: str, by: str = "", how: str = "rate") -> str:
    """How fast a counter grows."""
    return f"sum by ({by}) ({how}({own(metric)}[{RATE}]))" if by else f"sum({how}({own(metric)}[{RATE}]))"


def now() -> list[Json]:
    """The numbers on top."""
    ticks = "celeriac_tick_duration_seconds"
    return [
        stat(
            "Leaders",
            "Replicas that hold the Lease and act. One for each operator.",
            Query(f"sum({own('celeriac_leader')})"),
            steps={None: RED, 1: GREEN},
        ),
        stat("Replicas", "Replicas that are scraped.", Query(f"count({own('celeriac_leader')})")),
        stat(
            "Pools",
            "Pools that it tells of.",
            Query(f"count(count by (namespace, pool) ({own('celeriac_pool_condition')}))"),
        ),
        stat(
            "Tick, p99",
            "Work of one tick over all pools, in seconds that it holds the event loop.",
            Query(quantile(0.99, ticks)),
            unit="s",
            steps={None: GREEN, 0.25: YELLOW, 0.5: RED},
            no_value="no tick",
        ),
        stat(
            "Brokers that fail",
            "Brokers of which a reading failed lately.",
            Query(f"count({growth('celeriac_broker_read_failures_total', 'broker')} > 0) or vector(0)"),
            steps={None: GREEN, 1: RED},
        ),
        stat(
            "Objects that it cannot read",
            "For a fault of its own: see its log.",
            Query(f"sum({own('celeriac_unreadable_objects')})"),
            steps={None: GREEN, 1: RED},
        ),
    ]


def leading() -> list[Any]:
    """Who leads, and whether it keeps up."""
    ticks = "celeriac_tick_duration_seconds"
    return [
        row("Leading and keeping up"),
        line(
            8,
            series(
                "Leader",
                "1 while a replica leads.",
                Query(f"max by (cluster, instance) ({own('celeriac_leader')})", "{{instance}}"),
            ),
            series(
                "Tick",
                "Work of one tick over all pools, in seconds that it holds the event loop.",
                Query(quantile(0.99, ticks), "p99"),
                Query(quantile(0.5, ticks), "p50"),
                unit="s",
            ),
            series(
                "Ticks per second",
                "One every 0.5 s if nothing else is said (`tickSeconds`).",
                Query(growth(f"{ticks}_count", "cluster, instance"), "{{instance}}"),
                unit="cps",
            ),
        ),
        line(
            8,
            series(
                "Work queue",
                "Pools that wait to be reconciled.",
                Query(f"max by (cluster, instance) ({own('celeriac_workqueue_depth')})", "{{instance}}"),
            ),
            series(
                "Reconciliations",
                "Pools whose children were brought in line, per second, by how it ended.",
                Query(growth("celeriac_reconcile_duration_seconds_count", "outcome"), "{{outcome}}"),
                unit="cps",
            ),
            series(
                "Time of a reconciliation, p99",
                "By how it ended.",
                Query(quantile(0.99, "celeriac_reconcile_duration_seconds", "outcome"), "{{outcome}}"),
                unit="s",
            ),
        ),
    ]


def brokers() -> list[Any]:
    """The readings of brokers."""
    reads = "celeriac_broker_read_duration_seconds"
    return [
        row("Brokers"),
        line(
            8,
            series(
                "Time to read a broker",
                "One bulk reading of all queues of a broker, failed ones included.",
                Query(quantile(0.99, reads, "broker"), "{{broker}} p99"),
                Query(quantile(0.5, reads, "broker"), "{{broker}} p50"),
                unit="s",
            ),
            series(
                "Readings that failed",
                "Per second, by broker and reason.",
                Query(growth("celeriac_broker_read_failures_total", "broker, reason"), "{{broker}} {{reason}}"),
                unit="cps",
            ),
        ),
        line(
            7,
            series(
                "Registrations that cannot be read",
                "Pools of which nobody can say what all their workers hold, by reason.",
                Query(f"max by (reason) ({own('celeriac_unread_registrations')})", "{{reason}}"),
            ),
            series(
                "What is not heeded",
                "Pools in registries, and brokers of Pods, that no pool of their namespace has named.",
                Query(f"max({own('celeriac_strange_pools')})", "pools"),
                Query(f"max({own('celeriac_strange_pod_brokers')})", "brokers"),
            ),
            series(
                "Given up",
                "Deleted pools whose broker could not be read for an hour.",
                Query(growth("celeriac_given_up_pools_total", how="increase"), "pools"),
            ),
        ),
    ]


def api_server() -> list[Any]:
    """The API server as the operator meets it."""
    return [
        row("The API server"),
        line(
            8,
            series(
                "Requests",
                "Per second, by HTTP status; 0: no answer came.",
                Query(
                    growth("celeriac_api_requests_total", "verb, resource, code"),
                    "{{verb}} {{resource}} {{code}}",
                ),
                unit="reqps",
                stacked=True,
            ),
            series(
                "Time of requests, p99",
                "Until the API server answered.",
                Query(
                    quantile(0.99, "celeriac_api_request_duration_seconds", "verb", "resource"),
                    "{{verb}} {{resource}}",
                ),
                unit="s",
            ),
        ),
        line(
            7,
            series(
                "Watches that failed",
                "Watches and lists that were begun anew.",
                Query(growth("celeriac_watch_failures_total", "part", how="increase"), "{{part}}"),
            ),
            series(
                "Objects that cannot be read",
                "For a fault of the operator's own, by kind.",
                Query(f"max by (kind) ({own('celeriac_unreadable_objects')})", "{{kind}}"),
            ),
        ),
    ]


def process() -> list[Any]:
    """What the process takes."""
    of_ours = f"and on (cluster, instance, job) {own('celeriac_leader')}"
    version = f"max by (cluster, instance, version) ({own('celeriac_build_info')})"
    return [
        row("The process"),
        line(
            8,
            series(
                "Memory",
                "Resident memory of each replica.",
                Query(f"{own('process_resident_memory_bytes')} {of_ours}", "{{instance}}"),
                unit="bytes",
            ),
            series(
                "CPU",
                "Cores that each replica uses.",
                Query(f"rate({own('process_cpu_seconds_total')}[{RATE}]) {of_ours}", "{{instance}}"),
            ),
            table(
                "Version",
                "The version that each replica runs.",
                Query(version, instant=True, column="-"),
                labels={"cluster": "Cluster", "instance": "Instance", "version": "Version"},
                sort="Instance",
            ),
        ),
    ]


def operator() -> Json:
    """The whole dashboard."""
    lead = f"max by (instance) (changes(celeriac_leader{{{OPERATOR}}}[{RATE}])) > 0"
    return board(
        "celeriac-operator",
        "Celeriac / Operator",
        "The operator that scales Celery worker pools: Lease, ticks, brokers, API server, memory.",
        [CLUSTER, JOB, INSTANCE],
        [row("Now"), (4, [(4, panel) for panel in now()]), *leading(), *brokers(), *api_server(), *process()],
        [annotation("Handovers", YELLOW, lead, "Another replica leads", "{{instance}}")],
    )
