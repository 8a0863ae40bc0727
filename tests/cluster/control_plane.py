"""etcd and kube-apiserver (and kube-controller-manager when asked): a real Kubernetes API in a few seconds.

>>> with ControlPlane() as control_plane:
...     control_plane.kubectl("get", "namespaces")
"""

import json
import shutil
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv4Network
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.cluster import tools
from tests.cluster.errors import ClusterError
from tests.cluster.pki import Pki
from tests.cluster.ports import free_port
from tests.cluster.process import GuardedLauncher, Launcher, Process, run, wait_until
from tests.cluster.progress import step

READY_SECONDS = 90.0  # measured: 3 to 12 s on two cores
START_ATTEMPTS = 3  # another program may take a port between our look and our start
PODS = IPv4Network("10.88.0.0/16")
SERVICES = IPv4Network("10.96.0.0/16")
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
"""
FEW_OBJECTS_MIB = 600
"""Of memory, for an API server with some hundreds of objects; with thousands it would collect garbage all the time."""
COMPONENT_USERS = {
    "admin": ("admin", ("system:masters",)),
    "kubelet-client": ("kube-apiserver-kubelet-client", ("system:masters",)),
    "controller-manager": ("system:kube-controller-manager", ()),
    "scheduler": ("system:kube-scheduler", ()),
    "proxy": ("system:kube-proxy", ()),
}


@dataclass(frozen=True)
class Addresses:
    """Where a control plane listens, and the ranges that it gives to pods and services."""

    host: str = "127.0.0.1"
    api_port: int = 6443
    etcd_port: int = 2379
    etcd_peer_port: int = 2380
    pods: IPv4Network = PODS
    services: IPv4Network = SERVICES

    @property
    def url(self) -> str:
        """Of the API server."""
        return f"https://{self.host}:{self.api_port}"

    @property
    def etcd_url(self) -> str:
        """Only ever on loopback."""
        return f"http://127.0.0.1:{self.etcd_port}"


class ControlPlane:
    """A Kubernetes API of its own; use it as a context manager.

    ``controllers`` starts the controller manager too (Deployments get ReplicaSets and Pods, namespaces go away,
    quota is counted). Without ``directory`` a temporary one is made and removed in the end. ``memory_mib`` is what the
    API server tries to stay below.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        controllers: bool = False,
        launcher: Launcher | None = None,
        addresses: Addresses | None = None,
        memory_mib: int = FEW_OBJECTS_MIB,
    ) -> None:
        self._memory_mib = memory_mib
        self._temporary = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="celeriac control plane "))
        self.directory.mkdir(parents=True, exist_ok=True)
        self._controllers = controllers
        self._launcher = launcher or GuardedLauncher(self.directory)
        self._fixed_addresses = addresses
        self.addresses = addresses or Addresses()
        self.pki = Pki(self.directory / "pki")
        self.processes: dict[str, Process] = {}

    @property
    def url(self) -> str:
        """Of the API server, https."""
        return self.addresses.url

    @property
    def kubeconfig(self) -> Path:
        """The administrator's (group system:masters)."""
        return self.directory / "admin.kubeconfig"

    @property
    def audit_log(self) -> Path:
        """One JSON object a line, for each request answered (stage ResponseComplete; watches also ResponseStarted)."""
        return self.directory / "audit.log"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts everything and waits until the API answers; raises ClusterError with the end of a log otherwise."""
        programs = tools.binaries(["kube-apiserver", "kubectl", *(["kube-controller-manager"] * self._controllers)])
        with step("start etcd and kube-apiserver"):
            self._start_api(programs)
        if self._controllers:
            with step("start kube-controller-manager"):
                self._start_controllers(programs["kube-controller-manager"])

    def stop(self) -> None:
        """Ends the programs and removes the folder if it is a temporary one; safe to call twice."""
        for process in reversed(list(self.processes.values())):
            process.stop()
        self.processes.clear()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs kubectl as the administrator and returns its output; raises ClusterError with what it said."""
        command = [str(tools.binary("kubectl")), f"--kubeconfig={self.kubeconfig}", *arguments]
        return run(command, stdin=stdin, variables={"GOGC": "off"})  # a third of its CPU, and it ends at once

    def read(self, path: str) -> dict[str, Any] | None:
        """The object at a path of the API as the administrator sees it; None where there is none.

        A hundredth of what a kubectl costs, for what stories ask again and again.
        """
        context = ssl.create_default_context(cafile=str(self.pki.ca))
        context.load_cert_chain(self.pki.certificate("admin"), self.pki.key("admin"))
        try:
            with urllib.request.urlopen(f"{self.url}{path}", context=context, timeout=READY_SECONDS) as answer:
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.NOT_FOUND:
                raise
            return None
        return found

    def kubeconfig_for(self, user: str, groups: Iterable[str] = ()) -> Path:
        """A kubeconfig for any user, for tests of permissions; the user needs no object in the cluster."""
        name = "user-" + "".join(letter if letter.isalnum() else "-" for letter in user)
        self.pki.client(name, user, groups)
        return self.pki.kubeconfig(self.url, self.directory / f"{name}.kubeconfig", name)

    def wait_for_service_account(self, namespace: str, name: str = "default") -> None:
        """Await a service account; a controller makes "default" some time after its namespace."""
        self.kubectl("wait", "--for=create", f"serviceaccount/{name}", f"--namespace={namespace}", "--timeout=60s")

    def service_account_token(self, namespace: str, name: str = "default", seconds: int = 3600) -> str:
        """A token of a service account, valid for ``seconds`` (600 at least); waits for the account."""
        self.wait_for_service_account(namespace, name)
        return self.kubectl("create", "token", name, f"--namespace={namespace}", f"--duration={seconds}s").strip()

    def kubeconfig_for_service_account(self, namespace: str, name: str, seconds: int = 3600) -> Path:
        """A kubeconfig with a token of a service account, valid for ``seconds`` (600 at least)."""
        token = self.service_account_token(namespace, name, seconds)
        file = self.directory / f"service-account-{namespace}-{name}.kubeconfig"
        return self.pki.token_kubeconfig(self.url, file, token)

    def audit_events(self) -> Iterator[dict[str, Any]]:
        """The audit log from its beginning, parsed; a line that is still being written is left out."""
        with self.audit_log.open() as lines:
            for line in lines:
                if line.endswith("\n"):
                    yield json.loads(line)

    def _start_api(self, programs: dict[str, Path]) -> None:
        for attempt in range(1, START_ATTEMPTS + 1):
            self.addresses = self._fixed_addresses or _free_addresses()
            self._write_files()
            self.processes["etcd"] = self._launcher.start("etcd", self._etcd_command())
            self.processes["kube-apiserver"] = self._launcher.start(
                "kube-apiserver", self._api_server_command(programs["kube-apiserver"])
            )
            try:
                self.wait_ready()
                return
            except ClusterError as error:
                if "address already in use" not in str(error) or attempt == START_ATTEMPTS or self._fixed_addresses:
                    raise
                for process in self.processes.values():
                    process.stop()

    def wait_ready(self) -> None:
        """Waits until the API server reports that it is ready (its built-in roles are there from then on)."""
        context = ssl.create_default_context(cafile=str(self.pki.ca))

        def ready() -> bool:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", context=context, timeout=2) as answer:
                    return bool(answer.status == 200)
            except OSError:  # refused, not ready (HTTPError is one too), or slow
                return False

        wait_until(ready, "a ready API server", seconds=READY_SECONDS, processes=list(self.processes.values()))

    def _write_files(self) -> None:
        service = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
        first = str(next(self.addresses.services.hosts()))
        self.pki.create(("localhost", *service), dict.fromkeys(("127.0.0.1", self.addresses.host, first)))
        for name, (user, groups) in COMPONENT_USERS.items():
            self.pki.client(name, user, groups)
            self.pki.kubeconfig(self.url, self.directory / f"{name}.kubeconfig", name)
        (self.directory / "audit-policy.yaml").write_text(AUDIT_POLICY)

    def _etcd_command(self) -> list[str]:
        peer = f"http://127.0.0.1:{self.addresses.etcd_peer_port}"
        return [
            str(tools.etcd()),
            f"--data-dir={self.directory}/etcd",
            f"--listen-client-urls={self.addresses.etcd_url}",
            f"--advertise-client-urls={self.addresses.etcd_url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        ]

    def _api_server_command(self, program: Path) -> list[str]:
        """kubelet-client and InternalIP: without them ``kubectl logs`` gets a 401, or looks up the node's name."""
        on_loopback = self.addresses.host == "127.0.0.1"
        command = [
            # A seventh of its CPU goes otherwise into collecting garbage; it takes 100 MiB more for that.
            *("env", "GOGC=400", f"GOMEMLIMIT={self._memory_mib}MiB"),
            str(program),
            f"--etcd-servers={self.addresses.etcd_url}",
            f"--secure-port={self.addresses.api_port}",
            f"--bind-address={'127.0.0.1' if on_loopback else '0.0.0.0'}",
            f"--advertise-address={self.addresses.host}",
            f"--tls-cert-file={self.pki.certificate('server')}",
            f"--tls-private-key-file={self.pki.key('server')}",
            f"--client-ca-file={self.pki.ca}",
            f"--service-account-key-file={self.pki.directory}/sa.pub",
            f"--service-account-signing-key-file={self.pki.key('sa')}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-cluster-ip-range={self.addresses.services}",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            "--enable-admission-plugins=NodeRestriction",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-client-certificate={self.pki.certificate('kubelet-client')}",
            f"--kubelet-client-key={self.pki.key('kubelet-client')}",
            f"--audit-policy-file={self.directory}/audit-policy.yaml",
            f"--audit-log-path={self.audit_log}",
        ]
        if on_loopback:
            command.append("--endpoint-reconciler-type=none")  # Endpoints may not hold a loopback address
        if not self._controllers:
            command.append("--disable-admission-plugins=ServiceAccount")  # nobody makes the accounts that it waits for
        return command

    def _start_controllers(self, program: Path) -> None:
        """Started only now: before the API server is ready its roles are not there, and the manager exits at once."""
        kubeconfig = f"{self.directory}/controller-manager.kubeconfig"
        command = [
            str(program),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--service-account-private-key-file={self.pki.key('sa')}",
            f"--root-ca-file={self.pki.ca}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            f"--cluster-cidr={self.addresses.pods}",
            "--controllers=*,-nodeipam",
            "--horizontal-pod-autoscaler-sync-period=2s",  # 15 s by default, which stories would wait for
            *("--kube-api-qps=200", "--kube-api-burst=400"),  # by default its controllers take 5 s to get their tokens
            "--secure-port=0",
        ]
        manager = self._launcher.start("kube-controller-manager", command)
        self.processes["kube-controller-manager"] = manager
        wait_until(
            self._has_default_account,
            "a default service account",
            seconds=READY_SECONDS,
            processes=[manager],
            every=0.3,
        )

    def _has_default_account(self) -> bool:
        found = self.kubectl("get", "serviceaccounts", "--namespace=default", "--ignore-not-found", "default", "-oname")
        return bool(found.strip())


def _free_addresses() -> Addresses:
    return Addresses(api_port=free_port(), etcd_port=free_port(), etcd_peer_port=free_port())
