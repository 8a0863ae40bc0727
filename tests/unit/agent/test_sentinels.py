"""What the Sentinels ask for is the default of every connection in a worker, and the application's own option wins."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celeriac_agent.sentinels import know_sentinels, sentinel_options
from kombu.connection import Connection
from kombu.transport.redis import SentinelChannel

pytestmark = pytest.mark.unit

CHANNEL: Any = SentinelChannel


@pytest.fixture(autouse=True)
def _untouched() -> Iterator[None]:
    yield
    if "sentinel_kwargs" in CHANNEL.__dict__:
        del CHANNEL.sentinel_kwargs


def asked(**options: Any) -> Any:
    """What a channel of an application with these transport options asks Sentinels with."""
    connect: Any = Connection  # untyped
    connection = connect("sentinel://a:26379", transport_options={"master_name": "shop", **options})
    channel = object.__new__(CHANNEL)
    for name in CHANNEL.from_transport_options:
        if name in connection.transport_options:
            setattr(channel, name, connection.transport_options[name])
    return getattr(channel, "sentinel_kwargs", None)


def test_without_variables_nothing_is_touched() -> None:
    know_sentinels({})
    assert asked() is None


def test_a_user_and_a_password() -> None:
    know_sentinels({"CELERIAC_SENTINEL_USERNAME": "shop", "CELERIAC_SENTINEL_PASSWORD": "s3cr3t"})
    assert asked() == {"username": "shop", "password": "s3cr3t"}


def test_the_option_of_the_application_wins() -> None:
    know_sentinels({"CELERIAC_SENTINEL_PASSWORD": "s3cr3t"})
    assert asked(sentinel_kwargs={"password": "own"}) == {"password": "own"}


def test_the_files_that_are_mounted(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").touch()
    options = sentinel_options({"CELERIAC_SENTINEL_TLS": str(tmp_path)})
    assert options == {"ssl": True, "ssl_ca_certs": str(tmp_path / "ca.crt")}
