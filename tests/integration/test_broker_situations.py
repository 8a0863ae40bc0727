"""What the real programs say is what tests/situations.py has them say: the same sentence comes of it."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from celeriac.brokers.address import BrokerAddress, TlsMaterial
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.readings import QueueSet
from tests.cluster.ports import HOST, free_port
from tests.integration.brokers import broker_of
from tests.integration.redis_server import RedisServer, make_tls_files
from tests.situations import GREETINGS, WHERE, broker_situations

pytestmark = pytest.mark.integration

PASSWORD = "s3cr3t"
SENTENCES = {situation.what: (situation.reason, situation.message) for situation in broker_situations()}


async def read(url: str, tls: TlsMaterial | None = None, *, sentinel: str | None = None) -> tuple[str, str]:
    """Reason and message of the doubt that a reading ends in, of the usual address."""
    async with broker_of(BrokerAddress(url, tls, sentinel)) as broker:
        try:
            answers = await broker.queues.read([QueueSet(("mail",))])
        except BrokerDoubt as doubt:
            found = doubt
        else:
            assert isinstance(answers[0], BrokerDoubt), answers
            found = answers[0]
    assert PASSWORD not in str(found)
    _, _, place = url.rpartition("@") if "@" in url else url.partition("://")
    return found.reason, str(found).replace(f"Redis at {place.partition('/')[0]}", WHERE)


@pytest.fixture(scope="module")
def plain() -> Iterator[RedisServer]:
    """A Redis without a password."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def encrypted() -> Iterator[RedisServer]:
    """A Redis with TLS."""
    with RedisServer(tls=True) as server:
        yield server


async def test_passwords() -> None:
    with RedisServer(password=PASSWORD) as server:
        place = f"{HOST}:{server.port}/0"
        assert await read(f"redis://{place}") == SENTENCES["the URL has no password, Redis asks for one"]
        assert (
            await read(f"redis://:x{PASSWORD}@{place}") == (SENTENCES["wrong user or password, or the ACL user is off"])
        )


async def test_a_redis_without_a_password(plain: RedisServer) -> None:
    place = f"{HOST}:{plain.port}"
    assert await read(f"redis://:x@{place}/0") == SENTENCES["the URL has a password, Redis asks for none"]
    assert await read(f"redis://{place}/99") == SENTENCES["no such database"]
    assert await read(f"rediss://{place}/0") == (
        SENTENCES["redis:// and rediss:// mixed up: no TLS on the port"][0],
        f"{WHERE} does not speak TLS on this port: write redis:// into the broker URL, or name its TLS port",
    )
    with plain.client() as client:
        client.config_set("maxclients", 1)
        try:
            assert await read(f"redis://{place}/0") == SENTENCES["too many clients"]
        finally:
            client.config_set("maxclients", 100)


async def test_commands_that_are_switched_off() -> None:
    with RedisServer(config=['rename-command EVALSHA ""', 'rename-command HRANDFIELD ""']) as server:
        found = await read(f"redis://{HOST}:{server.port}/0")
    assert found == SENTENCES["a command was renamed, or the server is too old"]


async def test_a_replica_without_its_master() -> None:
    with RedisServer() as server, server.client() as client:
        client.config_set("replica-serve-stale-data", "no")
        client.replicaof(HOST, str(free_port()))
        found = await read(f"redis://{HOST}:{server.port}/0")
    # INFO tells its role before a key is asked for.
    assert found[0] == SENTENCES["a replica without its master"][0]


@pytest.fixture
def lone_sentinel(tmp_path: Path) -> Iterator[int]:
    """The port of a Sentinel that watches nobody."""
    port = free_port()
    (tmp_path / "sentinel.conf").write_text(f"port {port}\nbind {HOST}\n")
    command = ["redis-server", str(tmp_path / "sentinel.conf"), "--sentinel"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


async def test_a_sentinel_is_no_redis_and_a_redis_no_sentinel(plain: RedisServer, lone_sentinel: int) -> None:
    await listening(lone_sentinel)
    assert "write sentinel://" in (await read(f"redis://{HOST}:{lone_sentinel}/0"))[1]
    found = await read(f"sentinel://{HOST}:{plain.port}/0", sentinel="shop")
    assert found[0] == SENTENCES["sentinel:// leads to a plain Redis"][0]
    assert "no Sentinel" in found[1]


async def listening(port: int) -> None:
    """Wait until somebody takes connections there."""
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection(HOST, port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


async def test_addresses() -> None:
    assert await read(f"redis://{HOST}:{free_port()}/0") == SENTENCES["nothing listens"]
    assert await read("redis://redis.nowhere.invalid:6379/0") in (
        SENTENCES["no such host name"],
        SENTENCES["the DNS does not answer"],  # a machine without a network
    )
    assert await read("redis://a..b:6379/0") == SENTENCES["a host that is no name"]
    socket_url = "redis+socket:///nowhere/redis.sock?virtual_host=0"
    assert "no such socket" in (await read(socket_url))[1]


@asynccontextmanager
async def service(greeting: bytes, *, first: bool) -> AsyncIterator[int]:
    """Something that is no Redis, on a port of its own: it speaks first, or answers what it hears."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not first:
            await reader.read(1)
        writer.write(greeting)
        await writer.drain()
        await reader.read(4096)
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("what", GREETINGS)
@pytest.mark.parametrize("first", [True, False], ids=["speaks first", "answers"])
async def test_other_services(what: str, first: bool) -> None:
    async with service(GREETINGS[what], first=first) as port:
        assert await read(f"redis://{HOST}:{port}/0") == SENTENCES[what]


async def test_protected_mode() -> None:
    """The words come before the connection is closed, and the reading may lose them."""
    async with service(
        b"-DENIED Redis is running in protected mode because it has no password\r\n", first=True
    ) as port:
        assert await read(f"redis://{HOST}:{port}/0") == SENTENCES["protected mode"]


async def test_a_server_that_repeats_the_password_does_not_get_it_into_the_status() -> None:
    async with service(b"-ERR what is " + PASSWORD.encode() + b"\r\n", first=False) as port:
        _, message = await read(f"redis://:{PASSWORD}@{HOST}:{port}/0")
    assert PASSWORD not in message
    assert "what is" not in message


async def test_tls_on_the_port(encrypted: RedisServer) -> None:
    assert (
        await read(f"redis://{HOST}:{encrypted.port}/0")
        == (SENTENCES["redis:// and rediss:// mixed up: TLS on the port"])
    )
    assert await read(f"rediss://{HOST}:{encrypted.port}/0") == SENTENCES["a certificate of an unknown authority"]


async def test_a_client_certificate(tmp_path: Path) -> None:
    with RedisServer(tls=True, client_certificates=True) as server:
        assert server.tls is not None
        ca = server.tls.ca.read_text()
        url = f"rediss://{HOST}:{server.port}/0"
        assert await read(url, TlsMaterial(ca)) == SENTENCES["a client certificate is asked for"]
        stranger = make_tls_files(tmp_path)
        strange = TlsMaterial(ca, stranger.certificate.read_text(), stranger.key.read_text())
        assert await read(url, strange) == SENTENCES["a client certificate that Redis does not trust"]


def openssl(directory: Path, *arguments: str) -> None:
    """Run it there."""
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


CERTIFICATES = {
    "a certificate that signed itself": ("20200101000000Z", "20491231000000Z", "DNS:localhost", "serverAuth"),
    "a certificate that has expired": ("20200101000000Z", "20210101000000Z", "DNS:localhost", "serverAuth"),
    "a certificate of tomorrow": ("20481231000000Z", "20491231000000Z", "DNS:localhost", "serverAuth"),
    "a certificate without the name that is dialled": (
        "20200101000000Z",
        "20491231000000Z",
        "DNS:redis.other",
        "serverAuth",
    ),
    "a certificate without the address that is dialled": (
        "20200101000000Z",
        "20491231000000Z",
        "IP:10.0.0.7",
        "serverAuth",
    ),
    "a certificate that is not for servers": ("20200101000000Z", "20491231000000Z", "DNS:localhost", "clientAuth"),
}
AUTHORITY = """
[ca]
default_ca = own
[own]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
x509_extensions = extensions
[any]
commonName = supplied
[extensions]
subjectAltName = {name}
extendedKeyUsage = {usage}
"""


@contextmanager
def certified(directory: Path, start: str, end: str, name: str, usage: str) -> Iterator[ssl.SSLContext]:
    """The context of a server whose certificate signed itself."""
    (directory / "ca.cnf").write_text(AUTHORITY.format(name=name, usage=usage))
    (directory / "index.txt").touch()
    (directory / "serial").write_text("01\n")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(directory, "req", *curve, "-subj", "/CN=redis", "-keyout", "key.pem", "-out", "request.pem")
    signing = ("ca", "-batch", "-selfsign", "-config", "ca.cnf", "-keyfile", "key.pem", "-in", "request.pem")
    openssl(directory, *signing, "-startdate", start, "-enddate", end, "-notext", "-out", "certificate.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "certificate.pem", directory / "key.pem")
    yield context


@pytest.mark.parametrize("what", CERTIFICATES)
async def test_certificates(what: str, tmp_path: Path) -> None:
    with certified(tmp_path, *CERTIFICATES[what]) as context:
        server = await asyncio.start_server(lambda _, writer: writer.close(), HOST, 0, ssl=context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            known = TlsMaterial((tmp_path / "certificate.pem").read_text())
            host = HOST if "address" in what else "localhost"
            found = await read(f"rediss://{host}:{port}/0", None if "itself" in what else known)
    assert found == SENTENCES[what]


def test_the_machine_has_no_such_name() -> None:
    """Else the story of an unknown host would prove nothing."""
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("redis.nowhere.invalid", 6379)
