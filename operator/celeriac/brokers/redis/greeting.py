"""What else than Redis answers at an address, known by its first bytes; they are never repeated."""

import asyncio
import re
import ssl
from contextlib import suppress
from typing import Final

from celeriac.api.reasons import Reason
from celeriac.brokers.dialing.dial import Dialer
from celeriac.brokers.dialing.policy import NotAllowed
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.redis.answers import answer_to
from celeriac.brokers.redis.tls_failures import tls_doubt

GREETING_SECONDS: Final = 0.25
"""Some services speak first: so long they have for it."""
LISTENING_SECONDS: Final = 1.2
LONGEST: Final = 256

OTHER_SERVICES: Final = (
    (rb"^SSH-", "an SSH server"),
    (rb"^HTTP/|^<(!DOCTYPE|html)", "a web server (HTTP)"),
    (rb"^AMQP", "RabbitMQ (AMQP), whose queues Celeriac cannot read"),
    (rb"^(220|421)[ -]", "a mail or FTP server"),
    (rb"^\+OK .*POP|^\* OK", "a mail server"),
    (rb"^.\x00\x00\x00[\x0a\xff]", "MySQL or MariaDB"),
    (rb"^E\x00\x00|^EFATAL", "PostgreSQL"),
    (rb"^ERROR\r\n", "memcached"),
    (rb"^INFO \{", "NATS"),
)
_TLS: Final = re.compile(rb"^[\x15\x16]\x03")
_REDIS: Final = re.compile(rb"^(\+PONG|-NOAUTH|-NOPERM|-LOADING|-MASTERDOWN|-BUSY)")


async def heard(
    dialer: Dialer, host: str, port: int, context: ssl.SSLContext | None = None
) -> bytes | ssl.SSLError | None:
    """The first bytes that come, asked for by PING where nothing comes by itself; empty where it just hangs up.

    None: no connection, or silence. Never raises, and takes LISTENING_SECONDS at most.
    """
    try:
        async with asyncio.timeout(LISTENING_SECONDS):
            return await _heard(dialer, host, port, context)
    except ssl.SSLError as error:
        return error
    except ConnectionError:
        return b""
    except (OSError, TimeoutError, ValueError, NotAllowed):
        return None


async def _heard(dialer: Dialer, host: str, port: int, context: ssl.SSLContext | None) -> bytes:
    reader, writer = await dialer.dial(host, port, context=context, seconds=LISTENING_SECONDS, limit=LONGEST)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(GREETING_SECONDS):
                return await reader.read(LONGEST)
        writer.write(b"PING\r\n")
        return await reader.read(LONGEST)
    finally:
        writer.transport.abort()


async def speaks_tls(dialer: Dialer, host: str, port: int) -> bool:
    """Whether a handshake succeeds there, whoever it is. Never raises, and takes LISTENING_SECONDS at most."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with suppress(OSError, TimeoutError, ValueError, NotAllowed):
        async with asyncio.timeout(LISTENING_SECONDS):
            _, writer = await dialer.dial(host, port, context=context, seconds=LISTENING_SECONDS)
            writer.transport.abort()
            return True
    return False


def needs_tls(where: str) -> BrokerDoubt:
    """The doubt for a port with TLS that the URL addresses without."""
    return BrokerDoubt(
        Reason.BROKER_TLS_FAILED, f"{where} speaks TLS on this port: write rediss:// into the broker URL"
    )


def doubt_by_greeting(greeting: bytes | ssl.SSLError | None, where: str, *, tls: bool) -> BrokerDoubt | None:
    """What the greeting says that the error did not; None where it says nothing new. `tls`: the URL asks for TLS."""
    if isinstance(greeting, ssl.SSLError):
        return tls_doubt(greeting, where)
    if not greeting:
        return None
    if _TLS.search(greeting):
        return needs_tls(where)
    if tls and _REDIS.search(greeting):
        return BrokerDoubt(
            Reason.BROKER_TLS_FAILED,
            f"{where} does not speak TLS on this port: write redis:// into the broker URL, or name its TLS port",
        )
    other = next((name for pattern, name in OTHER_SERVICES if re.search(pattern, greeting, re.DOTALL)), None)
    if greeting[:1] == b"-" and other is None:
        answer = answer_to(greeting[1:].decode(errors="replace").removeprefix("ERR "))
        return BrokerDoubt(answer[0], answer[1].format(where=where)) if answer else None
    if other is None and greeting[:1] in b"+-:$*":
        return None
    return BrokerDoubt(
        Reason.BROKER_UNSUPPORTED,
        f"{where} is no Redis: what answers there is {other or 'another kind of service'}: correct host and port in the"
        " broker URL",
    )
