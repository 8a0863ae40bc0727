"""Where a broker is, says whoever may write a Secret or run a Sentinel: to find out and to shake hands costs little."""

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.ports import free_port
from tests.cluster.process import wait_until
from tests.faults.conftest import Figure
from tests.faults.hostile import CANARY, HOST, Hostile, array, bulk, commands
from tests.faults.test_hostile_broker import allowed, is_doubted, reactions
from tests.integration.kube import EVENTS, LEASES, POOLS, Kube
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.faults

LONG_NAME = "\N{LATIN SMALL LETTER E WITH ACUTE}." * 150_000
"""As a host: IDNA takes a second for it."""
DEAR_GROUP = "ffdhe8192"
"""A Diffie-Hellman exchange of 8192 bits, which takes either side some 0.1 s."""


def _master_with_a_long_name(connection: socket.socket) -> None:
    said = {"name": "main", "ip": LONG_NAME, "port": "6379", "flags": "master", "num-other-sentinels": "2"}
    answer = array(array(*(bulk(word.encode()) for pair in said.items() for word in pair)))
    for words in commands(connection):
        connection.sendall(answer if words[0].upper() == b"SENTINEL" else b"+OK\r\n")


@contextlib.contextmanager
def dear_handshakes(directory: Path) -> Iterator[int]:
    """The port of a server that speaks TLS by DEAR_GROUP only, at a low priority."""
    port, names = free_port(), ("-keyout", "server.key", "-out", "server.crt", "-subj", f"/CN={HOST}")
    make = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names)
    subprocess.run(make, cwd=directory, check=True, capture_output=True)
    serve = ("openssl", "s_server", "-accept", f"{HOST}:{port}", "-key", "server.key", "-cert", "server.crt")
    quiet: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(("nice", *serve, "-groups", DEAR_GROUP), cwd=directory, **quiet) as server:
        try:
            yield port
        finally:
            server.kill()


@pytest.mark.full
@pytest.mark.parametrize("pools", [2, 8])
def test_hosts_sentinels_and_handshakes_that_cost_much_cost_a_healthy_pool_nothing(
    pools: int, operator: OperatorProcess, kube: Kube, redis: RedisServer, tmp_path: Path, figure: Figure
) -> None:
    kube.create_pool("ml", redis.celery_url)
    kube.wait_for_condition("ml", "Ready", "True", "ScaledToZero")
    calm = reactions(kube, redis)
    held_since = kube.get(LEASES, "celeriac")["spec"]["acquireTime"]
    with Hostile(_master_with_a_long_name) as sentinel, dear_handshakes(tmp_path) as port:
        brokers: dict[str, tuple[str, dict[str, str]]] = {
            "name": (f"redis://{LONG_NAME}:6379/0", {}),
            "list": (";".join(f"sentinel://{CANARY.decode()}-{n}" for n in range(25_000)), {"sentinelMaster": "main"}),
            "master": (f"sentinel://{HOST}:{sentinel.port}/0", {"sentinelMaster": "main"}),
            "tls": (f"rediss://{HOST}:{port}/0?ssl_cert_reqs=none", {}),
        }
        for name, (url, fields) in brokers.items():
            for number in range(pools):
                kube.create_secret(f"{name}-{number}", url=url.replace("/0", f"/{number}"))
                reference = {"secretKeyRef": {"name": f"{name}-{number}", "key": "url"}}
                kube.create_pool(f"{name}-{number}", broker={"urlFrom": reference, **fields})
        many = pools * len(brokers)
        wait_until(lambda: sum(map(is_doubted, kube.list(POOLS))) == many, "each is in doubt", seconds=kube.patience)
        dear = reactions(kube, redis)
        figure("slowest reaction", max(dear), "s")
        figure("without them", max(calm), "s")
        assert min(dear) < allowed(calm)
        statuses = [str(pool["status"]) for pool in kube.list(POOLS)]
    assert kube.get(LEASES, "celeriac")["spec"]["acquireTime"] == held_since
    assert max(map(len, statuses)) < 16_000
    assert CANARY.decode() not in f"{operator.log()} {operator.metrics()} {statuses} {kube.list(EVENTS)}"
    assert "Traceback" not in operator.log()
