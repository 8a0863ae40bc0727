"""The flags of the operator, and its start."""

import asyncio
import errno
import logging
import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from celeriac import __version__
from celeriac.api.names import LEASE_NAME
from celeriac.brokers.dialing.policy import AddressPolicy, BrokerPattern, Network, network
from celeriac.cluster.client import Api
from celeriac.cluster.depth import allow_deep_objects
from celeriac.cluster.errors import BadConfiguration
from celeriac.operator import Operator
from celeriac.pool.model import PodSecurity
from celeriac.pool.platform import Platform, registry_problem
from celeriac.settings import Settings
from celeriac.telemetry.logs import configure_logging
from celeriac.telemetry.metrics import Metrics

log = logging.getLogger("celeriac")

T = TypeVar("T")

_KEY = r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
_TERM = rf"\s*(!\s*{_KEY}|{_KEY}(\s*(==?|!=)\s*{_VALUE}|\s+(in|notin)\s*\(\s*{_VALUE}(\s*,\s*{_VALUE})*\s*\))?)\s*"
SELECTOR = re.compile(rf"{_TERM}(,{_TERM})*")
"""As `k8s.io/apimachinery/pkg/labels` parses it, but for comparisons of numbers."""
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


async def run(settings: Settings) -> None:
    """Connect to the API server and run the operator."""
    log.info("celeriac %s starts as %s", __version__, settings.identity)
    metrics = Metrics(exporter_names=settings.exporter_names and settings.task_names > 0)
    async with await Api.connect(on_request=metrics.api_request) as api:
        await Operator(settings, api, metrics).run()


def _namespaces(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(_listed(values))
    for name in names:
        if not DNS_LABEL.fullmatch(name):
            raise click.BadParameter(f"{name!r} is no name of a namespace: lower-case letters, digits and '-' only")
    return names


def _selector(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """The API server would refuse another one with each list, and no pool would be served."""
    if value.strip() and not SELECTOR.fullmatch(value.strip()):
        raise click.BadParameter(
            f"{value!r} is no label selector: KEY=VALUE, KEY!=VALUE, KEY, !KEY, KEY in (A, B), by ,"
        )
    return value.strip()


def _networks(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(_parsed(network, text) for text in _listed(values))


def _patterns(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[BrokerPattern, ...]:
    return tuple(_parsed(BrokerPattern.parse, text) for text in _listed(values))


def _registries(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(_listed(values))
    for name in names:
        if problem := registry_problem(name):
            raise click.BadParameter(f"{name!r} {problem}")
    return names


def _listed(values: tuple[str, ...]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _parsed(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {error}") from None


@click.command(context_settings={"auto_envvar_prefix": "CELERIAC", "show_default": True})
@click.version_option(__version__)
@click.option(
    "--watch-namespace",
    "watch_namespaces",
    multiple=True,
    callback=_namespaces,
    envvar="CELERIAC_WATCH_NAMESPACES",
    help="Serve pools in this namespace only; may be given several times, or as a comma-separated list. "
    "Without it: the whole cluster.",
)
@click.option(
    "--namespace-selector",
    default="",
    show_default=False,
    callback=_selector,
    help="Serve pools in namespaces with these labels only: 'celeriac.dev/shard=a'. A namespace that gets or loses them"
    " is taken on or let go at once. Not with --watch-namespace. Of several operators each needs a Lease of its own.",
)
@click.option(
    "--pool-selector",
    default="",
    show_default=False,
    callback=_selector,
    help="Serve pools with these labels only, as kubectl -l has it: 'team=shop,!legacy'. Of several operators"
    " each needs a Lease of its own.",
)
@click.option(
    "--tick-seconds", type=click.FloatRange(0.05, 60), default=0.5, help="Time between two readings of Redis."
)
@click.option("--lease-namespace", default="default", help="Namespace of the Lease: its holder acts, others stand by.")
@click.option("--lease-name", default=LEASE_NAME, help="Name of the Lease.")
@click.option(
    "--identity",
    envvar="POD_NAME",
    default=None,
    help="Name in the Lease.  [default: the host's name and something random]",
)
@click.option(
    "--metrics-port", type=click.IntRange(0, 65535), default=8080, help="Port of /metrics, /healthz, /readyz."
)
@click.option(
    "--health-port",
    type=click.IntRange(1, 65535),
    default=None,
    help="A port for /healthz and /readyz alone, which scrapers cannot keep busy.  [default: that of the metrics]",
)
@click.option(
    "--metrics-certificate",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="PEM file of the certificate for /metrics, read again when it changes.  [default: no TLS]",
)
@click.option(
    "--metrics-key", type=click.Path(dir_okay=False, path_type=Path), default=None, help="PEM file of its key."
)
@click.option(
    "--metrics-auth",
    is_flag=True,
    help="Show /metrics only to who has a bearer token that may `get` the path /metrics (TokenReview and"
    " SubjectAccessReview); needs --metrics-certificate.",
)
@click.option(
    "--task-names",
    type=click.IntRange(0, 200),
    default=50,
    help="Names of tasks that have series of their own, of each pool the busiest; the rest is `other`. 0: no task"
    " metrics.",
)
@click.option(
    "--exporter-names/--no-exporter-names",
    default=True,
    help="Give task metrics also by the names of celery-exporter (celery_task_succeeded_total, ...).",
)
@click.option(
    "--allowed-broker",
    "brokers",
    multiple=True,
    callback=_patterns,
    envvar="CELERIAC_ALLOWED_BROKERS",
    metavar="PATTERN",
    help="Connect to this broker only: HOST[:PORT], where * stands for any characters, or CIDR[:PORT]; may be given"
    " several times, or as a comma-separated list. Without it: to every address that is not denied.",
)
@click.option(
    "--allow-broker-address",
    "networks",
    multiple=True,
    callback=_networks,
    envvar="CELERIAC_ALLOW_BROKER_ADDRESSES",
    metavar="CIDR",
    help="Connect to brokers at these addresses, too, which are denied otherwise: loopback, link-local, metadata of"
    " clouds, multicast, the API server's and the operator's own; may be given several times, or as a list.",
)
@click.option("--allow-unix-sockets", "unix_sockets", is_flag=True, help="Connect to redis+socket:// brokers, too.")
@click.option(
    "--max-replicas",
    type=click.IntRange(1, 10_000),
    default=None,
    help="The most that a pool may run. One that asks for more is refused (NotAllowed); one that says nothing gets this"
    " in place of 20.  [default: what each pool says]",
)
@click.option(
    "--pod-security",
    type=click.Choice([each.value for each in PodSecurity]),
    default=PodSecurity.BASELINE.value,
    help="The Pod Security Standard that all pools satisfy at least.",
)
@click.option(
    "--allowed-registry",
    "registries",
    multiple=True,
    callback=_registries,
    envvar="CELERIAC_ALLOWED_REGISTRIES",
    metavar="REGISTRY",
    help="Run images of this registry only: HOST[:PORT], with or without a path; may be given several times, or as a"
    " comma-separated list. Without it: of any.",
)
@click.option(
    "--resolv-conf",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=None,
    help="Where the name servers for brokers' hosts stand.  [default: /etc/resolv.conf]",
)
@click.option(
    "--log-level", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False), default="INFO"
)
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text")
def main(
    log_level: str,
    log_format: str,
    identity: str | None,
    brokers: tuple[BrokerPattern, ...],
    networks: tuple[Network, ...],
    unix_sockets: bool,
    max_replicas: int | None,
    pod_security: str,
    registries: tuple[str, ...],
    **options: Any,
) -> None:
    """Run the operator: reconcile CeleryWorkerPools and scale them from their Redis queues.

    It uses the current context of $KUBECONFIG, or else the service account of its pod. Several replicas may run: the
    holder of the Lease acts, the others stand by.
    """
    if bool(options["metrics_certificate"]) != bool(options["metrics_key"]):
        raise click.UsageError("--metrics-certificate and --metrics-key are given together or not at all")
    if options["metrics_auth"] and not options["metrics_certificate"]:
        raise click.UsageError("--metrics-auth needs --metrics-certificate: tokens go over TLS only")
    if options["namespace_selector"] and options["watch_namespaces"]:
        raise click.UsageError("--namespace-selector and --watch-namespace exclude each other: it watches the cluster")
    configure_logging(log_level, log_format)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the passwords of all brokers
    allow_deep_objects()
    if identity:
        options["identity"] = identity
    options["addresses"] = AddressPolicy(brokers, networks, unix_sockets)
    options["platform"] = Platform(max_replicas, PodSecurity(pod_security), registries)
    try:
        asyncio.run(run(Settings(**options)))
    except BadConfiguration as error:
        raise click.ClickException(error.message) from None
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise click.ClickException(f"cannot serve metrics and probes: {error.strerror}") from None


if __name__ == "__main__":
    main()
