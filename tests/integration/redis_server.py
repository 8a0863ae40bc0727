"""A real redis-server for tests: its own folder, a free loopback port, gone at the end of the `with` block.

    with RedisServer() as redis:                     # redis.url, redis.client()
    with RedisServer(password="secret") as redis:    # also user="celery", acl="~* &* +@all -info"
    with RedisServer(tls=True) as redis:             # rediss://; redis.tls.ca, .certificate, .key
    with RedisServer(unix_socket=True) as redis:     # redis.url is unix://..., redis.celery_url redis+socket://...
    with RedisServer(replicaof=redis) as replica:

What can befall a broker: `stop`, `kill`, `start`, `restart(empty=True)`, `restart(replicaof=...)`, `freeze`, `thaw`.
The port stays the same for the whole life of the object, so a client finds the server again after a restart.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import redis
from redis.exceptions import NoPermissionError

from tests.cluster.ports import HOST, free_port

START_SECONDS = 15.0
STOP_SECONDS = 15.0
PORT_ATTEMPTS = 5
SOCKET = "redis.sock"
LONGEST_SOCKET = 107
"""Bytes of a unix socket's path (unix(7)); folders for temporary files are longer on some machines."""


class RedisServerError(RuntimeError):
    """redis-server did not start or did not end; the message carries the tail of its log."""


@dataclass(frozen=True)
class TlsFiles:
    """PEM files of one throw-away authority; the certificate serves the server and clients alike."""

    ca: Path
    certificate: Path
    key: Path


def _folder_for_a_socket() -> Path:
    """A new folder where a socket's path is not too long: that for temporary files, otherwise /tmp."""
    folder = Path(tempfile.mkdtemp(prefix="redis "))
    if len(os.fsencode(folder / SOCKET)) <= LONGEST_SOCKET:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="redis ", dir="/tmp"))


def make_tls_files(directory: Path, *names: str, curve: str = "prime256v1") -> TlsFiles:
    """A self-signed authority and a certificate for 127.0.0.1, localhost and `names`, valid for two days."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-nodes")
    openssl("req", "-x509", *key, "-days", "2", "-subj", "/CN=celeriac-test-ca", "-keyout", "ca.key", "-out", "ca.crt")
    openssl("req", *key, "-subj", "/CN=localhost", "-keyout", "redis.key", "-out", "redis.csr")
    subjects = ",".join([f"IP:{HOST}", *(f"DNS:{name}" for name in ("localhost", *names))])
    (directory / "san.cnf").write_text(f"subjectAltName={subjects}\n")
    signing = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "san.cnf")
    openssl("x509", "-req", "-in", "redis.csr", *signing, "-out", "redis.crt")
    return TlsFiles(directory / "ca.crt", directory / "redis.crt", directory / "redis.key")


class RedisServer:
    """One redis-server process; every method returns once its effect can be seen by a client."""

    def __init__(
        self,
        *,
        user: str | None = None,
        password: str | None = None,
        acl: str = "~* &* +@all",
        tls: bool = False,
        curve: str = "prime256v1",
        client_certificates: bool = False,
        unix_socket: bool = False,
        replicaof: RedisServer | None = None,
        config: Sequence[str] = (),
    ) -> None:
        """Describe the server; `config` is further lines of redis.conf, `client_certificates` asks for mutual TLS.

        `curve`: of its certificate's key.
        """
        self.user, self.password, self.acl = user, password, acl
        self.client_certificates = client_certificates
        self.replicaof = replicaof
        self.config = tuple(config)
        self.directory = _folder_for_a_socket() if unix_socket else Path(tempfile.mkdtemp(prefix="redis "))
        self.tls = make_tls_files(self.directory, curve=curve) if tls else None
        self.socket_path = self.directory / SOCKET if unix_socket else None
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._port_is_ours = False

    @property
    def _credentials(self) -> str:
        return f"{self.user or ''}:{self.password}@" if self.password else ""

    @property
    def url(self) -> str:
        """The URL of database 0 as redis-py takes it, password included."""
        if self.socket_path:
            return f"unix://{self._credentials}{quote(str(self.socket_path))}?db=0"
        return f"{'rediss' if self.tls else 'redis'}://{self._credentials}{HOST}:{self.port}/0"

    @property
    def celery_url(self) -> str:
        """The same as Celery takes it: kombu knows a unix socket as redis+socket."""
        if self.socket_path:
            return f"redis+socket://{self._credentials}{quote(str(self.socket_path))}?virtual_host=0"
        return self.url

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None, "redis-server is not running"
        return self._process.pid

    def client(self, **options: Any) -> redis.Redis:
        """A new client with the authority and certificate that this server asks for; answers are str."""
        if self.tls:
            options.setdefault("ssl_ca_certs", str(self.tls.ca))
            if self.client_certificates:
                options |= {"ssl_certfile": str(self.tls.certificate), "ssl_keyfile": str(self.tls.key)}
        options.setdefault("decode_responses", True)
        client: redis.Redis = redis.Redis.from_url(self.url, **options)
        return client

    def calls(self) -> dict[str, int]:
        """How often each command ran, in scripts too, since the statistics were reset."""
        with self.client() as client:
            ran = client.info("commandstats").items()
            return {name.removeprefix("cmdstat_"): int(of["calls"]) for name, of in ran}

    def bytes_sent(self) -> int:
        """What Redis has sent to all clients so far, this question included."""
        with self.client() as client:
            return int(client.info("stats")["total_net_output_bytes"])

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises RedisServerError with the server's log when it ends at once or is not ready in START_SECONDS.
        """
        for _attempt in range(PORT_ATTEMPTS):
            self._spawn()
            if self._becomes_ready():
                self._port_is_ours = True
                return
            if self._port_is_ours or "Address already in use" not in self.log():
                break
            self.port = free_port()
        raise RedisServerError(f"redis-server did not start:\n{self.log()[-2000:]}")

    def stop(self) -> None:
        """End the server in good order; it writes its data to disk, so that `start` brings them back."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once; what it had not yet written to disk is lost."""
        self._end(signal.SIGKILL)

    def restart(self, *, empty: bool = False, replicaof: RedisServer | None = None) -> None:
        """Stop and start on the same port; `empty` forgets all data, `replicaof` comes back as a replica."""
        self.stop()
        if empty:
            (self.directory / "dump.rdb").unlink(missing_ok=True)
        self.replicaof = replicaof
        self.start()

    def freeze(self) -> None:
        """Stop answering without closing a connection (SIGSTOP): a broker that hangs."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End the server if it runs and remove its folder."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def log(self) -> str:
        """All that the server wrote since its last start."""
        path = self.directory / "redis.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _spawn(self) -> None:
        (self.directory / "redis.conf").write_text("\n".join(self._config_lines()) + "\n")
        with (self.directory / "redis.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["redis-server", "redis.conf"], cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _becomes_ready(self) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        with self.client(socket_timeout=1.0) as client:
            while self._process.poll() is None:
                try:
                    client.ping()
                    return True
                except NoPermissionError:
                    return True
                except redis.RedisError as error:
                    if time.monotonic() > deadline:
                        self._end(signal.SIGKILL)
                        raise RedisServerError(f"redis-server is not ready: {error}\n{self.log()[-2000:]}") from error
                    time.sleep(0.01)
        self._process = None
        return False

    def _end(self, with_signal: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(with_signal)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            raise RedisServerError(f"redis-server did not end on {with_signal.name}") from error

    def _config_lines(self) -> list[str]:
        lines = [f"bind {HOST}", "daemonize no", f'dir "{self.directory}"', "save 3600 1", "databases 16"]
        lines += self._listening() + self._access() + self._replication()
        return lines + list(self.config)

    def _listening(self) -> list[str]:
        if self.socket_path:
            return ["port 0", f'unixsocket "{self.socket_path}"', "unixsocketperm 700"]
        if not self.tls:
            return [f"port {self.port}"]
        return [
            "port 0",
            f"tls-port {self.port}",
            f'tls-ca-cert-file "{self.tls.ca}"',
            f'tls-cert-file "{self.tls.certificate}"',
            f'tls-key-file "{self.tls.key}"',
            f"tls-auth-clients {'yes' if self.client_certificates else 'no'}",
            "tls-replication yes",
        ]

    def _access(self) -> list[str]:
        if not self.password:
            return []
        if not self.user:
            return [f'requirepass "{self.password}"']
        return ["user default off", f"user {self.user} on >{self.password} {self.acl}"]

    def _replication(self) -> list[str]:
        if self.replicaof is None:
            return []
        lines = [f"replicaof {HOST} {self.replicaof.port}", "repl-diskless-sync-delay 0"]
        if self.replicaof.password:
            lines.append(f'masterauth "{self.replicaof.password}"')
        if self.replicaof.user:
            lines.append(f"masteruser {self.replicaof.user}")
        return lines
