"""Settings of the operator's process: those that differ between installations are flags of `python -m celeriac`."""

import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path

from celeriac.api.names import LEASE_NAME
from celeriac.brokers.dialing.policy import AddressPolicy
from celeriac.pool.platform import OPEN, Platform


@dataclass(frozen=True, slots=True)
class Settings:
    """How the operator runs.

    watch_namespaces   empty: the whole cluster
    namespace_selector  labels of the namespaces that are served; empty: whatever watch_namespaces says
    pool_selector      labels of the pools that are served; empty: all of them
    identity           of this process in the Lease. The name of its Pod is right: a container that restarts there takes
                       its own Lease back at once, and its predecessor is certainly gone
    tick_seconds       between two readings of the brokers
    health_port        for probes alone; None: they are answered at the port of the metrics only
    metrics_certificate, metrics_key  files of the TLS for the metrics; None: none
    metrics_auth       only who shows a token that may get /metrics is shown them
    reap_seconds       between two looks for workers that have ended
    agent_sweep_seconds  between two looks for agents that nobody uses any more
    resync_seconds     between two full lists of the objects, which find what a watch has missed
    status_seconds     after which changed counts alone are worth a write of the status
    status_writes_per_second  budget over all pools: a thousand new pools are told of in ten seconds
    patient_status_writes_per_second  what of it may go to counts and sentences, which can wait
    task_names         names of tasks that have series of their own, of each pool; 0: no task metrics
    exporter_names     task metrics also by the names of celery-exporter
    addresses          which brokers may be connected to
    platform           what pools may ask for
    resolv_conf        names the name servers of brokers' hosts; None: that of the system
    """

    watch_namespaces: tuple[str, ...] = ()
    namespace_selector: str = ""
    pool_selector: str = ""
    tick_seconds: float = 0.5
    lease_namespace: str = "default"
    lease_name: str = LEASE_NAME
    identity: str = field(default_factory=lambda: f"{socket.gethostname()}-{secrets.token_hex(4)}")
    metrics_host: str = "0.0.0.0"
    metrics_port: int = 8080
    health_port: int | None = None
    metrics_certificate: Path | None = None
    metrics_key: Path | None = None
    metrics_auth: bool = False
    reap_seconds: float = 0.5
    agent_sweep_seconds: float = 60.0
    resync_seconds: float = 120.0
    status_seconds: float = 60.0
    status_writes_per_second: float = 100.0
    patient_status_writes_per_second: float = 10.0
    reconcile_workers: int = 16
    task_names: int = 50
    exporter_names: bool = True
    addresses: AddressPolicy = field(default_factory=AddressPolicy)
    platform: Platform = OPEN
    resolv_conf: Path | None = None
