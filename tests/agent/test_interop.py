"""The same short ledger wherever Celery finds its Redis: TLS and an ACL user, Sentinel, a unix socket, Valkey."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.agent.rig import Rig
from tests.agent.shapes import once
from tests.agent.worker import Spec, eventually
from tests.cluster.ports import HOST, free_port
from tests.integration.redis_server import RedisServer
from tests.integration.sentinel_server import sentinel_server

pytestmark = pytest.mark.agent

SECRET = "only-the-broker-knows"
ACL = "~* &* +@all -@admin -config -info +client|kill +client|list"


@pytest.mark.parametrize("spec", once(quick=["prefork"], prefetch=2))
def test_tls_and_an_acl_user(spec: Spec, tmp_path: Path) -> None:
    with RedisServer(tls=True, user="shop", password=SECRET, acl=ACL) as server:
        assert server.tls is not None
        broker = f"{server.celery_url}?ssl_cert_reqs=required&ssl_ca_certs={quote(str(server.tls.ca))}"
        with Rig(server, tmp_path, broker=broker) as rig:
            report = _short_ledger(rig, spec)
            assert report["broker"] == f"rediss://{HOST}:{server.port}/0"
            assert SECRET not in str(report)


@pytest.mark.full
@pytest.mark.parametrize("spec", once(prefetch=2))
def test_a_unix_socket(spec: Spec, tmp_path: Path) -> None:
    with RedisServer(unix_socket=True) as server, Rig(server, tmp_path) as rig:
        assert str(server.socket_path) in _short_ledger(rig, spec)["broker"]


@pytest.mark.full
@pytest.mark.parametrize("spec", once(prefetch=2))
def test_sentinel(spec: Spec, tmp_path: Path) -> None:
    with RedisServer() as server, _sentinel(server, tmp_path) as port:
        options = {"broker_transport_options": {"master_name": "main"}}
        with Rig(server, tmp_path, broker=f"sentinel://{HOST}:{port}", config=options) as rig:
            assert f"{HOST}:{port}" in _short_ledger(rig, spec)["broker"]


@pytest.mark.full
@pytest.mark.parametrize("spec", once(prefetch=2))
@pytest.mark.parametrize("tls", [False, True], ids=["password", "tls"])
def test_sentinels_with_a_password_and_tls_of_their_own(spec: Spec, tls: bool, tmp_path: Path) -> None:
    """The application knows nothing of them: the agent gives its worker what spec.broker.sentinel says."""
    variables = {"CELERIAC_SENTINEL_PASSWORD": SECRET}
    with (
        RedisServer() as server,
        sentinel_server(server, tmp_path, name="main", tls=tls, config=[f"requirepass {SECRET}"]) as sentinel,
    ):
        asking: dict[str, Any] = {"password": SECRET}
        if sentinel.tls is not None:
            variables["CELERIAC_SENTINEL_TLS"] = str(tmp_path)
            asking |= {"ssl": True, "ssl_ca_certs": str(sentinel.tls.ca)}
        options = {"broker_transport_options": {"master_name": "main"}}
        with Rig(server, tmp_path, broker=sentinel.url, config=options) as rig:
            rig.sender.conf.broker_transport_options |= {"sentinel_kwargs": asking}
            assert f"{HOST}:{sentinel.port}" in _short_ledger(rig, replace(spec, variables=variables))["broker"]
            assert [each.pod for each in rig.workers if SECRET in each.log_file.read_text()] == []


@pytest.mark.full
@pytest.mark.parametrize("spec", once(prefetch=2))
def test_valkey(spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = shutil.which("valkey-server")
    assert program, "install the package valkey-server (Debian 13 or later has it), or leave the long form out"
    (tmp_path / "redis-server").symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with RedisServer() as server, Rig(server, tmp_path) as rig:
        _short_ledger(rig, spec)


def _short_ledger(rig: Rig, spec: Spec) -> dict[str, Any]:
    """A drain of a busy worker, a crash, a restart in the pod; the report of the end."""
    first, second = rig.start(spec, spec)
    rig.send(*(f"t{number:02}" for number in range(14)), args=[0.7])
    rig.wait_for(lambda: rig.ledger.running(), "some run")
    rig.scale_down(first)
    rig.settle()
    rig.wait_for(lambda: not rig.held(second), "the last acknowledgement has reached Redis")
    second.restart()
    second.ready()
    report = second.wait_for(lambda report: report["state"] == "consuming", "it consumes")
    assert set(report["capabilities"]) == {"inflight", "drain", "exact"}
    assert report["errors"] == 0
    rig.send("after")
    rig.settle()
    assert rig.account().problems == {}
    return report


@contextmanager
def _sentinel(server: RedisServer, directory: Path) -> Iterator[int]:
    """One Sentinel that watches `server` under the name `main`."""
    port = free_port()
    (directory / "sentinel.conf").write_text(
        f'bind {HOST}\nport {port}\ndir "{directory}"\nsentinel monitor main {HOST} {server.port} 1\n'
    )
    with (directory / "sentinel.log").open("wb") as log:
        process = subprocess.Popen(["redis-server", "sentinel.conf", "--sentinel"], cwd=directory, stdout=log)
    try:
        eventually(lambda: b"+monitor" in (directory / "sentinel.log").read_bytes(), "Sentinel watches", 15)
        yield port
    finally:
        process.kill()
        process.wait()
