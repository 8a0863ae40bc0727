"""pip's settings of this machine, for builds of images: mounted while they run, never part of an image."""

import configparser
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

IN_THE_BUILD = "/etc/pip.conf"
CERTIFICATES_IN_THE_BUILD = "/etc/pip-certificates.crt"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
MACHINE = Path("/etc/pip.conf")
# Where packages come from and how they are reached; everything else is the Dockerfile's business.
CARRIED = (
    *("index-url", "extra-index-url", "no-index", "find-links", "trusted-host"),
    *("proxy", "cert", "timeout", "default-timeout", "retries"),
)


@dataclass(frozen=True)
class PipSettings:
    """Two files to mount at IN_THE_BUILD and CERTIFICATES_IN_THE_BUILD."""

    configuration: Path
    certificates: Path | None

    def mounts(self) -> dict[str, Path]:
        """The files by their paths in the build."""
        certificates = {CERTIFICATES_IN_THE_BUILD: self.certificates} if self.certificates else {}
        return {IN_THE_BUILD: self.configuration, **certificates}


@contextmanager
def written(environment: Mapping[str, str] = os.environ) -> Iterator[PipSettings]:
    """The settings as files that only this user reads, for as long as a build takes."""
    values = collect(environment)
    certificates = Path(values.pop("cert", CERTIFICATES)).expanduser()
    if found := certificates.is_file():
        values["cert"] = CERTIFICATES_IN_THE_BUILD
    parser = configparser.RawConfigParser()
    parser["global"] = values
    with tempfile.TemporaryDirectory(prefix="celeriac-pip-") as directory:
        configuration = Path(directory) / "pip.conf"
        with configuration.open("w") as file:
            parser.write(file)
        yield PipSettings(configuration, certificates if found else None)


def collect(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings that hold here, in pip's order: machine, user, the file of PIP_CONFIG_FILE, the environment.

    https://pip.pypa.io/en/stable/topics/configuration/
    """
    values: dict[str, str] = {}
    for file in _files(environment):
        parser = configparser.RawConfigParser()
        parser.read(file)
        for section in ("global", "install"):
            values |= dict(parser[section]) if parser.has_section(section) else {}
    values |= {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in environment.items()
        if name.startswith("PIP_") and value
    }
    return {key: value for key, value in values.items() if key in CARRIED}


def _files(environment: Mapping[str, str]) -> list[Path]:
    home = Path(environment.get("HOME") or Path.home())
    user = [home / ".pip/pip.conf", Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf"]
    named = environment.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    # A file that PIP_CONFIG_FILE names takes the place of the user's own.
    return [MACHINE, Path(named)] if named and Path(named).exists() else [MACHINE, *user]
