"""A temporary folder may be as deep, and named as oddly, as it likes: brokers of the tests are reached all the same."""

# mypy: disable-error-code="no-untyped-call"

import tempfile
from pathlib import Path

import pytest
from kombu.connection import Connection

from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.integration


@pytest.fixture
def deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Far too long for a unix socket, with letters that a URL, a shell and redis.conf read differently."""
    folder = tmp_path / "it's 100% a#b? + c"
    folder.joinpath(*["very deep folder"] * 6).mkdir(parents=True)
    folder = folder.joinpath(*["very deep folder"] * 6)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("options", [{}, {"tls": True}, {"unix_socket": True}], ids=["plain", "tls", "unix socket"])
def test_a_redis_is_reached_by_its_urls_in_whatever_folder_it_lives(deep: Path, options: dict[str, bool]) -> None:
    with RedisServer(**options) as server:  # type: ignore[arg-type]
        assert (deep in server.directory.parents) == ("unix_socket" not in options)
        with server.client() as client:
            assert client.config_get("dir")["dir"] == str(server.directory)
        if not server.tls:
            with Connection(server.celery_url) as connection:
                connection.ensure_connection(max_retries=1)


def test_a_unix_socket_lives_in_the_folder_for_temporary_files_where_it_is_short_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="a b%20") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        with RedisServer(unix_socket=True) as server, Connection(server.celery_url) as connection:
            assert Path(folder) in server.directory.parents
            connection.ensure_connection(max_retries=1)
