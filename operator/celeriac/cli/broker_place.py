"""Which broker a command acts on that needs no cluster: the broker URL is in the environment, never an argument."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from celeriac.brokers.address import BrokerAddress, SentinelAccess, TlsMaterial
from celeriac.brokers.connect import connect
from celeriac.brokers.dialing.dial import Dialer
from celeriac.brokers.dialing.policy import EVERYWHERE
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import Broker

URL_VARIABLE = "CELERY_BROKER_URL"
SENTINEL_VARIABLE = "CELERIAC_SENTINEL"

P = ParamSpec("P")
Part = TypeVar("Part")


def on_broker(
    part: Callable[[Broker], Part | None],
) -> Callable[[Callable[Concatenate[Part, P], Awaitable[None]]], Callable[..., None]]:
    """Give a command the options that choose a broker, and a part of that broker as its first argument."""

    def decorate(command: Callable[Concatenate[Part, P], Awaitable[None]]) -> Callable[..., None]:
        @wraps(command)
        def run(
            broker_url_env: str,
            sentinel_master: str | None,
            tls_ca: Path | None,
            tls_cert: Path | None,
            tls_key: Path | None,
            *args: Any,
            **kwargs: Any,
        ) -> None:
            async def act() -> None:
                tls = TlsMaterial(_text(tls_ca), _text(tls_cert), _text(tls_key))
                url = _url(broker_url_env)
                own = tls if tls != TlsMaterial() else None
                # Whoever types the command chooses the address, and it is their own machine that connects.
                dialer = Dialer(EVERYWHERE)
                broker = connect(BrokerAddress(url, own, sentinel_master, _sentinel_access()), dialer)
                try:
                    await command(_needed(part(broker)), *args, **kwargs)
                finally:
                    await broker.close()
                    await dialer.close()

            try:
                asyncio.run(act())
            except BrokerDoubt as doubt:
                raise click.ClickException(doubt.told) from doubt

        return _with_options(run)

    return decorate


def _needed(part: Part | None) -> Part:
    if part is None:
        raise click.ClickException("this kind of broker needs no such command: it redelivers by itself")
    return part


def _with_options(run: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        run = option(run)
    return run


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OPTIONS = (
    click.option(
        "--broker-url-env",
        metavar="NAME",
        default=URL_VARIABLE,
        show_default=True,
        help="Environment variable that holds the broker URL. The URL itself is never an argument: it may hold a"
        " password, and everybody on the machine sees arguments (ps).",
    ),
    click.option(
        "--sentinel-master",
        metavar="NAME",
        help="Name of the master, for a sentinel:// URL. A"
        f" password of the Sentinels themselves is read from {SENTINEL_VARIABLE}_PASSWORD (and _USERNAME).",
    ),
    click.option("--tls-ca", type=_FILE, help="CA of a rediss:// broker, PEM; default: the system's authorities."),
    click.option("--tls-cert", type=_FILE, help="Client certificate, PEM."),
    click.option("--tls-key", type=_FILE, help="Its private key, PEM."),
)


def _url(variable: str) -> str:
    url = os.environ.get(variable, "").strip()
    if not url:
        raise click.UsageError(
            f"the environment variable {variable} is not set: let it hold the broker URL of the workers"
            " (redis://HOST:6379/0), or name another one with --broker-url-env"
        )
    return url


def _sentinel_access() -> SentinelAccess:
    """What the Sentinels themselves ask for, from the variables that the operator gives to workers."""
    return SentinelAccess(
        os.environ.get(f"{SENTINEL_VARIABLE}_USERNAME"), os.environ.get(f"{SENTINEL_VARIABLE}_PASSWORD")
    )


def _text(file: Path | None) -> str | None:
    return file.read_text() if file else None
