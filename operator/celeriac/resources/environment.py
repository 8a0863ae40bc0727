"""A worker's environment: where its broker is, and nothing else that the user did not write himself."""

from collections.abc import Sequence
from typing import Any

from celeriac.pool.model import BrokerSpec, SecretKey, SentinelSecrets, TlsSecrets, WorkerPool
from celeriac.resources.bootstrap import RUN_DIR, RUN_DIR_VARIABLE
from celeriac.resources.command import CUSTOM_POOL_VARIABLE

# All three: CELERY_BROKER_URL beats the app's broker_url, but not its broker_read_url and broker_write_url.
BROKER_VARIABLES = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL")
PLAIN_BROKER_VARIABLE = "CELERIAC_BROKER_URL"

TLS_VOLUME = "celeriac-broker-tls"
TLS_DIR = "/etc/celeriac/broker-tls"
SENTINEL_VARIABLE = "CELERIAC_SENTINEL"
SENTINEL_TLS_VOLUME = "celeriac-sentinel-tls"
SENTINEL_TLS_DIR = "/etc/celeriac/sentinel-tls"
CA_FILE, CERTIFICATE_FILE, KEY_FILE = "ca.crt", "tls.crt", "tls.key"
READ_ONLY_MODE = 0o444


def environment(pool: WorkerPool, *, url_has_query: bool = False) -> list[dict[str, Any]]:
    """The worker's variables. The user's follow ours, so that they may refer to them: $(CELERY_BROKER_URL)."""
    variables = [{"name": RUN_DIR_VARIABLE, "value": RUN_DIR}, *_broker_variables(pool.broker, url_has_query)]
    variables += _sentinel_variables(pool.broker.sentinel)
    if pool.custom_pool is not None:
        variables.append({"name": CUSTOM_POOL_VARIABLE, "value": pool.custom_pool})
    return variables


def tls_volumes(broker: BrokerSpec) -> list[dict[str, Any]]:
    """A volume with CA and client certificate, each from its own Secret: for the broker, and for its Sentinels."""
    volumes = []
    for name, _, tls in _tls_places(broker):
        sources = [
            {"secret": {"name": secret.name, "items": [{"key": secret.key, "path": file}]}}
            for secret, file in _tls_files(tls)
        ]
        volumes.append({"name": name, "projected": {"defaultMode": READ_ONLY_MODE, "sources": sources}})
    return volumes


def tls_mounts(broker: BrokerSpec) -> list[dict[str, Any]]:
    """Where `tls_volumes` are seen."""
    return [{"name": name, "mountPath": folder, "readOnly": True} for name, folder, _ in _tls_places(broker)]


def _tls_places(broker: BrokerSpec) -> Sequence[tuple[str, str, TlsSecrets]]:
    """Volume, folder, and what is in them."""
    every = (
        (TLS_VOLUME, TLS_DIR, broker.tls),
        (SENTINEL_TLS_VOLUME, SENTINEL_TLS_DIR, broker.sentinel.tls if broker.sentinel else None),
    )
    return [(name, folder, tls) for name, folder, tls in every if tls is not None]


def _sentinel_variables(sentinel: SentinelSecrets | None) -> list[dict[str, Any]]:
    """What the Sentinels ask for, where the agent finds it: kombu takes it from no URL."""
    if sentinel is None:
        return []
    secrets = (("USERNAME", sentinel.username), ("PASSWORD", sentinel.password))
    variables: list[dict[str, Any]] = [
        {"name": f"{SENTINEL_VARIABLE}_{name}", "valueFrom": {"secretKeyRef": {"name": secret.name, "key": secret.key}}}
        for name, secret in secrets
        if secret is not None
    ]
    if sentinel.tls is not None:
        variables.append({"name": f"{SENTINEL_VARIABLE}_TLS", "value": SENTINEL_TLS_DIR})
    return variables


def _broker_variables(broker: BrokerSpec, url_has_query: bool) -> list[dict[str, Any]]:
    """The broker's URL under every name that Celery reads it from.

    With `broker.tls` the URL gets kombu's ssl_* parameters. The operator never copies a Secret's value into a manifest:
    the kubelet puts URL and parameters together ($(NAME) refers to a variable before it in the list).
    """
    if broker.tls is None:
        return [_url_variable(name, broker) for name in BROKER_VARIABLES]
    url = f"$({PLAIN_BROKER_VARIABLE}){'&' if url_has_query else '?'}{_tls_query(broker.tls)}"
    composed = [{"name": name, "value": url} for name in BROKER_VARIABLES]
    return [_url_variable(PLAIN_BROKER_VARIABLE, broker), *composed]


def _url_variable(name: str, broker: BrokerSpec) -> dict[str, Any]:
    if broker.url_from is not None:
        reference = {"name": broker.url_from.name, "key": broker.url_from.key}
        return {"name": name, "valueFrom": {"secretKeyRef": reference}}
    # Kubernetes reads $$( as a plain $(; a URL refers to no variable.
    return {"name": name, "value": (broker.url or "").replace("$(", "$$(")}


def _tls_query(tls: TlsSecrets) -> str:
    """The parameters of a rediss:// URL, as kombu.utils.url.parse_url reads them."""
    parameters = {CA_FILE: "ssl_ca_certs", CERTIFICATE_FILE: "ssl_certfile", KEY_FILE: "ssl_keyfile"}
    files = [f"{parameters[file]}={TLS_DIR}/{file}" for _secret, file in _tls_files(tls)]
    return "&".join(["ssl_cert_reqs=required", *files])


def _tls_files(tls: TlsSecrets) -> Sequence[tuple[SecretKey, str]]:
    every = ((tls.ca, CA_FILE), (tls.certificate, CERTIFICATE_FILE), (tls.private_key, KEY_FILE))
    return [(secret, file) for secret, file in every if secret is not None]
