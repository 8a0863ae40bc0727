"""The chart as an OCI artifact, whose defaults name the operator's image of the release by its digest."""

import re
import shutil
from pathlib import Path

from release.container_images import Pushed
from release.registry import Registry
from release.versions import ROOT
from tests.cluster import tools
from tests.cluster.errors import ClusterError
from tests.cluster.process import run

CHART = ROOT / "charts" / "celeriac"


def package(operator: Pushed, folder: Path, version: str) -> Path:
    """The chart's archive in `folder`."""
    copy = folder / "celeriac"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(CHART, copy)
    values = copy / "values.yaml"
    values.write_text(naming(values.read_text(), operator))
    run([_helm(), "package", copy, f"--version={version}", f"--app-version={version}", f"--destination={folder}"])
    shutil.rmtree(copy)
    return folder / f"celeriac-{version}.tgz"


def naming(values: str, operator: Pushed) -> str:
    """The text of values.yaml with the image of a release; raises ClusterError when it has no such place."""
    for key, value in (("repository", operator.reference), ("digest", operator.digest)):
        values, found = re.subn(rf"(?m)\A((?:.*\n)*?image:\n(?:.*\n)*?  {key}: ).*$", rf"\g<1>{value}", values, count=1)
        if not found:
            raise ClusterError(f"values.yaml of the chart has no image.{key}")
    return values


def push(archive: Path, registry: Registry, version: str) -> Pushed:
    """Push the chart's archive."""
    where = registry.name("charts")
    run([_helm(), "push", archive, f"oci://{where}", *plain(registry)])
    reference = f"{where}/celeriac"
    return Pushed("celeriac-chart", reference, registry.digest(f"{reference}:{version}"), {})


def plain(registry: Registry) -> list[str]:
    """How Helm is told that a registry has no TLS."""
    return ["--plain-http"] if registry.plain else []


def _helm() -> Path:
    return tools.binary("helm")
