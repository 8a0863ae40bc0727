"""A real Sentinel for tests, with a password and TLS of its own: redis-server in its Sentinel mode."""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.ports import HOST, free_port
from tests.integration.redis_server import RedisServer, TlsFiles, make_tls_files

WATCH_SECONDS = 15.0


@dataclass(frozen=True)
class SentinelServer:
    """Where it is, and its certificates if it speaks TLS."""

    port: int
    tls: TlsFiles | None = None

    @property
    def url(self) -> str:
        """As Celery takes it; a password in it would be the master's."""
        return f"sentinel://{HOST}:{self.port}/0"


@contextmanager
def sentinel_server(
    master: RedisServer, directory: Path, *, name: str = "shop", tls: bool = False, config: Sequence[str] = ()
) -> Iterator[SentinelServer]:
    """One Sentinel that watches `master`; `config` is further lines, such as requirepass."""
    port = free_port()
    files = make_tls_files(directory) if tls else None
    lines = [f"bind {HOST}", f'dir "{directory}"', f"port {0 if files else port}"]
    if files:
        lines += [
            f"tls-port {port}",
            f'tls-ca-cert-file "{files.ca}"',
            f'tls-cert-file "{files.certificate}"',
            f'tls-key-file "{files.key}"',
            "tls-auth-clients no",
        ]
    lines.append(f"sentinel monitor {name} {HOST} {master.port} 1")
    if master.password:
        lines.append(f"sentinel auth-pass {name} {master.password}")
    (directory / "sentinel.conf").write_text("\n".join([*lines, *config]) + "\n")
    log_file = directory / "sentinel.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(["redis-server", "sentinel.conf", "--sentinel"], cwd=directory, stdout=log)
    try:
        deadline = time.monotonic() + WATCH_SECONDS
        while b"+monitor" not in log_file.read_bytes():
            assert process.poll() is None, log_file.read_text()
            assert time.monotonic() < deadline, log_file.read_text()
            time.sleep(0.02)
        yield SentinelServer(port, files)
    finally:
        process.kill()
        process.wait()
