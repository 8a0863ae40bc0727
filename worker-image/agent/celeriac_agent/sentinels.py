"""What the Sentinels of the broker themselves ask for: kombu reads it from no URL, only from a transport option."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

VARIABLE = "CELERIAC_SENTINEL"
FILES = {"ssl_ca_certs": "ca.crt", "ssl_certfile": "tls.crt", "ssl_keyfile": "tls.key"}


def sentinel_options(environ: Mapping[str, str]) -> dict[str, Any]:
    """The options of redis-py's connections to Sentinels, empty where spec.broker.sentinel says nothing."""
    options: dict[str, Any] = {}
    for name in ("username", "password"):
        value = environ.get(f"{VARIABLE}_{name.upper()}")
        if value:
            options[name] = value
    folder = environ.get(f"{VARIABLE}_TLS")
    if folder:
        options["ssl"] = True
        paths = {option: Path(folder, file) for option, file in FILES.items()}
        options.update({option: str(path) for option, path in paths.items() if path.exists()})
    return options


def know_sentinels(environ: Mapping[str, str]) -> None:
    """Make it the default of every channel in this process, those of producers too; the app's own option wins.

    kombu's channel takes `sentinel_kwargs` from the transport options, and from its class where they have none.
    """
    options = sentinel_options(environ)
    if options:
        from kombu.transport.redis import SentinelChannel

        channel: Any = SentinelChannel
        channel.sentinel_kwargs = options
