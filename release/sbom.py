"""SBOMs in CycloneDX 1.5, made of what is in an artifact: its Python packages, its Debian packages, the agent."""

import email
import json
import tarfile
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

DEBIAN_STATUS = "var/lib/dpkg/status"
METADATA = ".dist-info/METADATA"
AGENT = "celeriac/agent/celeriac_agent/__init__.py"
OPERATOR = "celeriac/__init__.py"


@dataclass(frozen=True, order=True)
class Component:
    """One part: kind is a type of CycloneDX (library, application, container), purl names it for scanners."""

    kind: str
    name: str
    version: str
    purl: str

    def entry(self) -> dict[str, str]:
        """As CycloneDX writes it."""
        return {
            "type": self.kind,
            "bom-ref": self.purl,
            "name": self.name,
            "version": self.version,
            "purl": self.purl,
        }


def document(subject: Component, parts: Iterable[Component], *, made: str) -> dict[str, Any]:
    """The SBOM of an artifact; `made` is the time of the commit, so that the same artifact has the same SBOM."""
    components = sorted(set(parts))
    names = "".join(component.purl for component in (subject, *components))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, names)}",
        "version": 1,
        "metadata": {"timestamp": made, "component": subject.entry()},
        "components": [component.entry() for component in components],
    }


def write(file: Path, sbom: dict[str, Any]) -> Path:
    """Write an SBOM and return its path."""
    file.write_text(json.dumps(sbom, indent=1, sort_keys=True) + "\n")
    return file


def own(version: str, kind: str = "application") -> Component:
    """The operator."""
    return Component(kind, "celeriac", version, f"pkg:pypi/celeriac@{version}")


def agent(version: str) -> Component:
    """The agent, which the operator puts into workers; it has the operator's version and is no package by itself."""
    return Component("library", "celeriac-agent", version, f"pkg:generic/celeriac-agent@{version}")


def python_package(metadata: str) -> Component:
    """A package, by the METADATA that its wheel has left."""
    fields = email.message_from_string(metadata)
    name, version = fields["Name"], fields["Version"]
    purl_name = name.lower().replace("_", "-").replace(".", "-")
    return Component("library", name, version, f"pkg:pypi/{purl_name}@{version}")


def debian_packages(status: str) -> Iterator[Component]:
    """The installed packages of dpkg's status file."""
    for paragraph in status.split("\n\n"):
        fields = email.message_from_string(paragraph)
        if "installed" in (fields["Status"] or "").split():
            name, version = fields["Package"], fields["Version"]
            purl = f"pkg:deb/debian/{name}@{quote(version, safe='.+~-')}?arch={fields['Architecture']}"
            yield Component("library", name, version, purl)


def of_archive(archive: IO[bytes], version: str) -> Iterator[Component]:
    """What is in a tar archive (a file system of an image, a plugin), read once from its beginning to its end."""
    with tarfile.open(fileobj=archive, mode="r|*") as files:
        for member in files:
            name = member.name.removeprefix("./")
            if name.endswith(METADATA):
                yield python_package(_text(files, member))
            elif name == DEBIAN_STATUS:
                yield from debian_packages(_text(files, member))
            elif name.endswith(AGENT):
                yield agent(version)
            elif name.endswith(OPERATOR):
                yield own(version)


def _text(files: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    content = files.extractfile(member)
    return content.read().decode() if content else ""
