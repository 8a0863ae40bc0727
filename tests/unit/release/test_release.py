"""What a release says of itself: its version, its notes, its SBOMs, where its chart and its plugin come from."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
import yaml

from release import chart, plugin, sbom, signing, versions
from release.container_images import RECIPES, Pushed, Recipe, own_base, with_own_build_stage
from release.sbom import Component
from tests.cluster.errors import ClusterError

pytestmark = pytest.mark.unit

CHANGELOG = """\
# Changelog

## [Unreleased]

{}
## [1.2.0] - 2026-01-01

Better.

### Fixed

- It.

## [1.1.0]

Old.
"""
DIGEST = f"sha256:{'a' * 64}"
OPERATOR = Pushed("celeriac", "ghcr.io/somebody/celeriac", DIGEST, {"amd64": "sha256:1", "arm64": "sha256:2"})
METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: {}\n\nA text.\n"
DPKG = (
    "Package: libc6\nStatus: install ok installed\nArchitecture: arm64\nVersion: 2.36-9+deb12u10\n\n"
    "Package: gone\nStatus: deinstall ok config-files\nArchitecture: arm64\nVersion: 1\n"
)


def packed(files: dict[str, str]) -> io.BytesIO:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    content.seek(0)
    return content


def test_the_notes_of_a_release_are_its_section_of_the_changelog() -> None:
    assert versions.notes(CHANGELOG.format(""), "1.2.0", rehearsal=False) == "Better.\n\n### Fixed\n\n- It."


def test_a_version_without_a_section_is_no_release_and_no_line_is_left_behind() -> None:
    with pytest.raises(ClusterError, match=r"no section \[1.3.0\]"):
        versions.notes(CHANGELOG.format(""), "1.3.0", rehearsal=True)
    with pytest.raises(ClusterError, match=r"under \[Unreleased\]: move them to \[1.2.0\]"):
        versions.notes(CHANGELOG.format("- New.\n"), "1.2.0", rehearsal=False)
    assert versions.notes(CHANGELOG.format("- New.\n"), "1.2.0", rehearsal=True)


def test_the_version_is_carried_to_every_place_that_repeats_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*versions.PLACES, "pyproject.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((versions.ROOT / name).read_text().replace("0.1.0", "9.8.7"))
    for name in versions.PLACES:
        text = (tmp_path / name).read_text()
        assert "9.8.7" in text, f"{name} has the version of pyproject.toml"
        (tmp_path / name).write_text(text.replace("9.8.7", "0.0.0"))
    monkeypatch.setattr(versions, "ROOT", tmp_path)
    versions.carry()
    assert all("9.8.7" in (tmp_path / name).read_text() for name in versions.PLACES)
    assert not any("0.0.0" in (tmp_path / name).read_text() for name in versions.PLACES)


def test_an_sbom_names_what_is_in_the_artifact_the_agent_too() -> None:
    files = {
        "./venv/lib/python3.11/site-packages/redis-8.1.0.dist-info/METADATA": METADATA.format("redis", "8.1.0"),
        "venv/lib/python3.11/site-packages/PyYAML-6.0.2.dist-info/METADATA": METADATA.format("PyYAML", "6.0.2"),
        "app/celeriac/__init__.py": "",
        "app/celeriac/agent/celeriac_agent/__init__.py": "",
        "var/lib/dpkg/status": DPKG,
    }
    parts = list(sbom.of_archive(packed(files), "1.2.0"))
    subject = Component("container", "celeriac", "1.2.0", "pkg:oci/celeriac")
    document = sbom.document(subject, parts, made="2026-01-01T00:00:00Z")
    found = {component["purl"] for component in document["components"]}
    assert found == {
        "pkg:pypi/redis@8.1.0",
        "pkg:pypi/pyyaml@6.0.2",
        "pkg:pypi/celeriac@1.2.0",
        "pkg:generic/celeriac-agent@1.2.0",
        "pkg:deb/debian/libc6@2.36-9+deb12u10?arch=arm64",
    }
    assert document == sbom.document(subject, reversed(parts), made="2026-01-01T00:00:00Z"), "the same each time"


def test_the_chart_of_a_release_names_its_image_by_digest() -> None:
    text = (chart.CHART / "values.yaml").read_text()
    before, after = yaml.safe_load(text), yaml.safe_load(chart.naming(text, OPERATOR))
    assert after.pop("image") == {**before.pop("image"), "repository": OPERATOR.reference, "digest": DIGEST}
    assert after == before
    with pytest.raises(ClusterError, match=r"no image\.repository"):
        chart.naming("replicas: 1\n", OPERATOR)


def test_krew_finds_each_archive_by_its_content_and_every_platform_has_one(tmp_path: Path) -> None:
    archives = {platform: tmp_path / f"{'-'.join(platform)}.tar.gz" for platform in plugin.PLATFORMS}
    for archive in archives.values():
        archive.write_bytes(archive.name.encode())
    manifest = plugin.krew_manifest(archives, "1.2.0", "https://example.com/v1.2.0")
    [mac] = [each for each in manifest["spec"]["platforms"] if each["selector"]["matchLabels"]["os"] == "darwin"][1:]
    assert mac["selector"]["matchLabels"]["arch"] == "arm64"
    assert mac["uri"] == "https://example.com/v1.2.0/darwin-arm64.tar.gz"
    assert mac["sha256"] == hashlib.sha256(b"darwin-arm64.tar.gz").hexdigest()
    assert len(manifest["spec"]["platforms"]) == 4


def test_checksums_are_those_that_sha256sum_reads(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).write_text(name)
    text = signing.write_checksums(tmp_path, [tmp_path / "b", tmp_path / "a"]).read_text()
    assert [line.split("  ")[1] for line in text.splitlines()] == ["a", "b"]
    assert text.startswith(hashlib.sha256(b"a").hexdigest())


def test_what_is_compiled_is_fetched_for_each_python_and_nothing_else(tmp_path: Path) -> None:
    for name, file in (("pydantic_core-2.50", "pydantic_core/_core.cpython-311.so"), ("click-8.2", "click/core.py")):
        (tmp_path / f"{name}.dist-info").mkdir()
        (tmp_path / f"{name}.dist-info" / "RECORD").write_text(f"{file},sha256=x,1\n")
    requirements = "click==8.2 \\\n    --hash=sha256:0\n    # via x\npydantic-core==2.50 \\\n    --hash=sha256:1\n"
    assert plugin.compiled(tmp_path) == {"pydantic-core"}
    assert plugin.only(requirements, plugin.compiled(tmp_path)) == "pydantic-core==2.50 \\\n    --hash=sha256:1\n"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_the_build_stage_has_a_base_of_its_own(recipe: Recipe) -> None:
    """buildah 1.28 takes one image for a reference that two stages name, whatever their platforms."""
    text = recipe.dockerfile.read_text()
    assert own_base(text).startswith("python:3.11-slim@sha256:")
    changed = with_own_build_stage(text, f"python@{DIGEST}")
    assert f" python@{DIGEST} AS build\n" in changed
    assert "\nFROM ${BASE}\n" in changed
    with pytest.raises(ClusterError, match="has the line FROM"):
        with_own_build_stage(changed, "other")
