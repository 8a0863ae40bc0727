"""Whoever names a broker chooses where the operator connects to: not to itself, nor to what only it can reach."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.faults.conftest import Figure
from tests.faults.hostile import CANARY, Hostile, array, bulk, commands
from tests.integration.kube import EVENTS, POOLS, Kube
from tests.integration.name_server import NameServer
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.tasks import push

pytestmark = pytest.mark.faults

DOMAINS = ("svc.cluster.local", "cluster.local")
INSIDE = "127.0.0.1"
OTHER = "127.0.0.2"
FORMS = (
    *("127.0.0.1", "localhost", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "127.8.8.8", "0.0.0.0", "0"),
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "inside.shop", "both.shop"),
    *("169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "224.0.0.1", "255.255.255.255"),
)


class Door:
    """Somebody who speaks first, at one address of this machine or at all of them, and counts who comes."""

    def __init__(self, family: socket.AddressFamily, place: tuple[str, int] | str) -> None:
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        if family == socket.AF_INET6:
            self._listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self._listener.bind(place)
        self._listener.listen()
        self.visits = 0
        self.port = 0 if isinstance(place, str) else int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                visitor, _ = self._listener.accept()
                self.visits += 1
                visitor.sendall(b"SSH-2.0-" + CANARY + b"\r\n")
                visitor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def names() -> Iterator[NameServer]:
    hosts = {"inside": (INSIDE,), "both": (INSIDE, "::1"), "mixed": (OTHER, INSIDE)}
    with NameServer({f"{host}.shop.svc.cluster.local": each for host, each in hosts.items()}, search=DOMAINS) as server:
        yield server


def own_addresses() -> Iterator[str]:
    """Of this machine, by which a packet would leave it; none without a network."""
    for family, away in ((socket.AF_INET, "198.51.100.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((away, 9))
            address = probe.getsockname()[0]
            yield f"[{address}]" if family == socket.AF_INET6 else address


def create_pool(kube: Kube, name: str, url: str, **broker: object) -> None:
    """With its URL in a Secret, as a tenant has it."""
    kube.create_secret(name, url=url)
    kube.create_pool(name, broker={"urlFrom": {"secretKeyRef": {"name": name, "key": "url"}}, **broker})


def told(operator: OperatorProcess, kube: Kube) -> str:
    """All that people see: statuses, events, metrics and the log."""
    statuses = [pool.get("status") for pool in kube.list(POOLS)]
    events = [event.get("note") for event in kube.list(EVENTS)]
    return f"{statuses} {events} {operator.metrics()} {operator.log()}"


def test_no_address_of_the_operators_own_is_connected_to_in_whatever_form_it_is_named(
    control_plane: ControlPlane, kube: Kube, names: NameServer, tmp_path: Path, figure: Figure
) -> None:
    path = str(tmp_path / "redis.sock")
    flags = ("--resolv-conf", str(names.resolv_conf))
    with (
        Door(socket.AF_INET6, ("::", 0)) as door,
        Door(socket.AF_UNIX, path) as socket_file,
        OperatorProcess(control_plane.kubeconfig, kube.namespace, *flags, allowed=()) as operator,
    ):
        urls = [f"redis://{host}:{door.port}/0" for host in (*FORMS, *own_addresses())]
        urls += [f"rediss://:open-sesame@{host}:{door.port}/0" for host in ("127.0.0.1", "inside.shop")]
        urls.append(f"redis+socket://{path}")
        for number, url in enumerate(urls):
            create_pool(kube, f"pool-{number}", url)
        create_pool(kube, "sentinel", f"sentinel://inside.shop:{door.port}/0", sentinelMaster="main")
        for name in (*(f"pool-{number}" for number in range(len(urls))), "sentinel"):
            kube.wait_for_condition(name, "BrokerReachable", "False", "BrokerNotAllowed")
        named = kube.condition(f"pool-{FORMS.index('inside.shop')}", "BrokerReachable")["message"]
        everything = told(operator, kube)
        assert (door.visits, socket_file.visits) == (0, 0)
        figure("addresses that were never connected to", len(urls) + 1, "")
    assert "a loopback address" in named
    assert INSIDE not in named
    assert CANARY.decode() not in everything
    assert "Traceback" not in everything


def test_of_a_name_and_of_a_sentinels_master_only_what_is_allowed_is_connected_to(
    control_plane: ControlPlane, kube: Kube, names: NameServer, redis: RedisServer
) -> None:
    def say(connection: socket.socket) -> None:
        for words in commands(connection):
            connection.sendall(array(_master(redis.port)) if words[0].upper() == b"SENTINEL" else b"+OK\r\n")

    flags = ("--resolv-conf", str(names.resolv_conf))
    allowed = ("--allow-broker-address", f"{INSIDE}/32")
    with (
        Door(socket.AF_INET, (OTHER, redis.port)) as door,
        Hostile(say) as sentinel,
        OperatorProcess(control_plane.kubeconfig, kube.namespace, *flags, allowed=allowed) as operator,
    ):
        create_pool(kube, "mixed", f"redis://mixed.shop:{redis.port}/0")
        create_pool(kube, "moved", f"sentinel://{INSIDE}:{sentinel.port}/0", sentinelMaster="main")
        kube.wait_for_condition("mixed", "BrokerReachable", "True", "Readable")
        kube.wait_for_condition("moved", "BrokerReachable", "False", "BrokerNotAllowed")
        push(redis, "mixed", 2)
        kube.wait_for_replicas("mixed", 2)
        assert sentinel.connections > 0
        assert door.visits == 0
        assert OTHER not in told(operator, kube)


def _master(port: int) -> bytes:
    """What a Sentinel says of a master that is up, at another address of this machine."""
    said = {"name": "main", "ip": OTHER, "port": str(port), "flags": "master", "num-other-sentinels": "2"}
    return array(*(bulk(word.encode()) for pair in said.items() for word in pair))
