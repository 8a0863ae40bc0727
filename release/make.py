"""All that a release consists of, made and pushed: the same for a release and its dry run."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml

from release import chart, container_images, plugin, sbom, signing, versions
from release.container_images import Pushed
from release.registry import Registry
from release.sbom import Component
from release.signing import Cosign
from release.versions import ROOT
from tests.cluster.errors import ClusterError
from tests.cluster.process import run
from tests.cluster.progress import step


@dataclass(frozen=True)
class Order:
    """What a release is made with. `base` is another base image than the Dockerfiles' own, for a dry run."""

    registry: Registry
    cosign: Cosign
    folder: Path
    downloads: str
    base: str | None = None
    rehearsal: bool = False


@dataclass(frozen=True)
class Made:
    """What was made: images and chart by digest, and the folder with the files."""

    version: str
    images: tuple[Pushed, ...]
    chart: Pushed
    folder: Path


def make(order: Order) -> Made:
    """Make, push and sign everything; raises ClusterError at the first thing that is not as a release has to be."""
    version = versions.version()
    with step(f"look whether {version} can be released"):
        notes = versions.notes(versions.CHANGELOG.read_text(), version, rehearsal=order.rehearsal)
        if not order.rehearsal:
            check_tag(version)
    moment = int(run(["git", "log", "-1", "--format=%ct"], cwd=ROOT))
    made_at = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    folder = order.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "NOTES.md").write_text(notes + "\n")
    with step("build wheel, CRDs and the archives of kubectl-celery"):
        files = write_files(folder, version, moment, order.downloads, made_at)
    images = tuple(
        container_images.publish(recipe, order.registry, version, order.base) for recipe in container_images.RECIPES
    )
    with step("package and push the chart"):
        packaged = chart.package(images[0], folder, version)
        pushed = chart.push(packaged, order.registry, version)
    with step("sign images and chart, each with its SBOM") as progress:
        for image in (*images, pushed):
            progress.say(image.name)
            order.cosign.sign_image(image.by_digest)
            for suffix, reference, document in documents(image, images, order.registry, version, made_at):
                files.append(sbom.write(folder / f"{image.name}-{version}{suffix}.cdx.json", document))
                order.cosign.attest(reference, files[-1])
    files += [packaged, _summary(folder, version, (*images, pushed))]
    with step("write and sign the checksums"):
        checksums = signing.write_checksums(folder, [*files, folder / "NOTES.md"])
        order.cosign.sign_file(checksums, folder / signing.BUNDLE)
        (folder / "cosign.pub").write_text(order.cosign.public_key())
    return Made(version, images, pushed, folder)


def check_tag(version: str) -> None:
    """Raises ClusterError unless the checkout is as committed, and this commit has the tag of the version."""
    if run(["git", "status", "--porcelain"], cwd=ROOT).strip():
        raise ClusterError("the checkout has changes that are not committed: a release is made of a commit")
    tags = run(["git", "tag", "--points-at", "HEAD"], cwd=ROOT).split()
    if f"v{version}" not in tags:
        raise ClusterError(f"this commit has no tag v{version}: git tag v{version}, or change the version")


def write_files(folder: Path, version: str, moment: int, downloads: str, made_at: str) -> list[Path]:
    """Wheel, CRDs, plugin and its manifest, with the SBOMs of wheel and plugin."""
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(moment)}
    build = ["make", "--silent", "dist", f"DIST={folder}"]
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"make dist failed:\n{done.stderr}")
    (wheel,) = folder.glob("*.whl")
    crds = folder / f"celeriac-crds-{version}.yaml"
    crds.write_text("---\n".join(file.read_text() for file in sorted((ROOT / "crds").glob("*.yaml"))))
    archives = plugin.archives(wheel, folder, version, moment)
    manifest = folder / "celery.krew.yaml"
    manifest.write_text(yaml.safe_dump(plugin.krew_manifest(archives, version, downloads), sort_keys=False))
    in_plugin: set[Component] = set()
    for archive in archives.values():
        with archive.open("rb") as content:
            in_plugin |= set(sbom.of_archive(content, version))
    subject = Component("application", plugin.PROGRAM, version, f"pkg:generic/{plugin.PROGRAM}@{version}")
    sboms = (
        sbom.write(folder / f"{plugin.PROGRAM}-{version}.cdx.json", sbom.document(subject, in_plugin, made=made_at)),
        sbom.write(folder / f"{wheel.stem}.cdx.json", sbom.document(sbom.own(version), _locked(version), made=made_at)),
    )
    return [wheel, crds, *archives.values(), manifest, *sboms]


def documents(
    image: Pushed, images: Iterable[Pushed], registry: Registry, version: str, made_at: str
) -> Iterable[tuple[str, str, dict[str, object]]]:
    """The SBOMs of what was pushed: a part of the file's name, the reference that it is about, the SBOM."""
    if not image.platforms:
        subject = Component("file", image.name, version, _purl(image.reference, image.digest))
        parts = [Component("container", each.name, version, _purl(each.reference, each.digest)) for each in images]
        yield "", image.by_digest, sbom.document(subject, parts[:1], made=made_at)
    for arch, digest in image.platforms.items():
        reference = f"{image.reference}@{digest}"
        with registry.file_system(reference) as files:
            parts = list(sbom.of_archive(files, version))
        subject = Component("container", image.name, version, _purl(image.reference, digest, arch))
        yield f"-{arch}", reference, sbom.document(subject, parts, made=made_at)


def _purl(reference: str, digest: str, arch: str | None = None) -> str:
    name = reference.rpartition("/")[2]
    return f"pkg:oci/{name}@{digest}?repository_url={reference}" + (f"&arch={arch}" if arch else "")


def _locked(version: str) -> list[Component]:
    """What the wheel asks for, at the versions of uv.lock, and the agent, which is in it."""
    export = ["export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--no-hashes", "--no-annotate"]
    lines = run([os.environ.get("UV", "uv"), *export], cwd=ROOT).splitlines()
    pins = [line.partition(";")[0].strip().split("==") for line in lines if "==" in line and not line.startswith("#")]
    packages = [Component("library", name, number, f"pkg:pypi/{name}@{number}") for name, number in pins]
    return [*packages, sbom.agent(version)]


def _summary(folder: Path, version: str, pushed: Iterable[Pushed]) -> Path:
    """Digests for people and programs: what to install, what to verify."""
    file = folder / "release.json"
    references = {each.name: each.by_digest for each in pushed}
    file.write_text(json.dumps({"version": version, **references}, indent=1) + "\n")
    return file
