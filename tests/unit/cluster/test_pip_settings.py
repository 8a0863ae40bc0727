"""pip in an image's build finds packages where pip on this machine finds them, and the image does not tell."""

import configparser
from pathlib import Path

import pytest

from tests.cluster import pip_settings
from tests.cluster.pip_settings import collect, written

pytestmark = pytest.mark.unit

MACHINE = "[global]\nindex-url = https://machine.example/simple\ntimeout = 60\n"
USER = "[global]\nindex-url = https://user.example/simple\n[install]\nuser = true\ntrusted-host = user.example\n"


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A machine and a user who both have a pip.conf."""
    machine = tmp_path / "machine.conf"
    machine.write_text(MACHINE)
    monkeypatch.setattr(pip_settings, "MACHINE", machine)
    user = tmp_path / ".config" / "pip" / "pip.conf"
    user.parent.mkdir(parents=True)
    user.write_text(USER)
    return {"HOME": str(tmp_path)}


def test_the_users_file_comes_before_the_machines_and_only_ways_to_packages_are_carried(
    environment: dict[str, str],
) -> None:
    assert collect(environment) == {
        "index-url": "https://user.example/simple",
        "timeout": "60",
        "trusted-host": "user.example",
    }


def test_the_environment_comes_before_every_file(environment: dict[str, str]) -> None:
    values = collect(environment | {"PIP_INDEX_URL": "https://here.example/simple", "PIP_NO_CACHE_DIR": "1"})
    assert values["index-url"] == "https://here.example/simple"
    assert "no-cache-dir" not in values


def test_a_file_named_in_the_environment_takes_the_place_of_the_users_own(
    environment: dict[str, str], tmp_path: Path
) -> None:
    named = tmp_path / "named.conf"
    named.write_text("[global]\nproxy = http://proxy.example:3128\n")
    values = collect(environment | {"PIP_CONFIG_FILE": str(named)})
    assert values == {
        "index-url": "https://machine.example/simple",
        "timeout": "60",
        "proxy": "http://proxy.example:3128",
    }
    assert collect(environment | {"PIP_CONFIG_FILE": "/dev/null"}) == {}


def test_what_is_written_names_the_certificates_by_their_place_in_the_build_and_goes_again(
    environment: dict[str, str], tmp_path: Path
) -> None:
    certificates = tmp_path / "own.crt"
    certificates.touch()
    with written(environment | {"PIP_CERT": str(certificates)}) as settings:
        parser = configparser.RawConfigParser()
        parser.read(settings.configuration)
        assert parser["global"]["cert"] == pip_settings.CERTIFICATES_IN_THE_BUILD
        assert parser["global"]["index-url"] == "https://user.example/simple"
        assert settings.mounts()[pip_settings.CERTIFICATES_IN_THE_BUILD] == certificates
    assert not settings.configuration.exists()


def test_a_percent_sign_in_a_password_is_no_interpolation(environment: dict[str, str]) -> None:
    index = "https://me:p%40ss@mirror.example/simple"
    with written(environment | {"PIP_INDEX_URL": index}) as settings:
        assert f"index-url = {index}" in settings.configuration.read_text()
