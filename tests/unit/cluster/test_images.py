"""When an image is built again, and when the one in the cache will do."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster import images
from tests.cluster.dockerfile import base_images, full_name, own_bases
from tests.cluster.errors import ClusterError
from tests.cluster.images import ImageArchive

pytestmark = pytest.mark.unit


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "tasks.py").write_text("one")
    (tmp_path / "run").write_text("#!/bin/sh")
    (tmp_path / "notes.md").write_text("not in the image")
    (tmp_path / ".dockerignore").write_text("# documentation\n*.md\n**/__pycache__\n")
    (tmp_path / "Dockerfile").write_text("FROM python:3.11-slim\nCOPY . /\n")
    return tmp_path


def key(context: Path) -> str:
    return images.context_hash(context, context / "Dockerfile", [])


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file's content": lambda context: (context / "app" / "tasks.py").write_text("two"),
    "a new file": lambda context: (context / "app" / "new.py").touch(),
    "a file's name": lambda context: (context / "run").rename(context / "start"),
    "a file that became executable": lambda context: (context / "run").chmod(0o755),
    "the Dockerfile": lambda context: (context / "Dockerfile").write_text("FROM python:3.11-slim\nCOPY app /\n"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_of_what_the_image_is_made_of_builds_it_again(context: Path, change: Callable[[Path], object]) -> None:
    before = key(context)
    change(context)
    assert key(context) != before


def test_what_dockerignore_leaves_out_builds_nothing(context: Path) -> None:
    before = key(context)
    (context / "notes.md").write_text("changed")
    (context / "app" / "__pycache__").mkdir()
    (context / "app" / "__pycache__" / "tasks.pyc").touch()
    (context / "run").touch()
    assert key(context) == before


def test_dockerignore_patterns_start_at_the_root_and_can_let_in_again(context: Path) -> None:
    (context / "app" / "guide.md").touch()
    (context / ".dockerignore").write_text("*\n!app\napp/tasks.py\n")
    assert names(context) == {"app/guide.md"}
    (context / ".dockerignore").write_text("*\n!run\n")
    assert names(context) == {"run"}, "what is in a folder that is left out is left out"
    (context / ".dockerignore").write_text("*.md\n")
    assert names(context) >= {"app/guide.md", "run"}
    assert "notes.md" not in names(context)


def names(context: Path) -> set[str]:
    return {str(file.relative_to(context)) for file in images.context_files(context, context / "Dockerfile")}


def test_an_argument_and_a_base_are_part_of_the_key(context: Path) -> None:
    keys = {
        images.context_hash(context, context / "Dockerfile", parts) for parts in ([], ["A=1"], ["A=2"], ["A=1", "b"])
    }
    assert len(keys) == 4


def test_the_bases_of_a_dockerfile_are_those_of_all_its_stages() -> None:
    text = (
        "ARG BASE=python:3.11-slim\nFROM ${BASE} AS build\nFROM redis:7 AS data\nFROM build\nFROM scratch\nFROM $BASE"
    )
    assert base_images(text, {}) == ["docker.io/library/python:3.11-slim", "docker.io/library/redis:7"]
    assert base_images(text, {"BASE": "ghcr.io/a/b"})[0] == "ghcr.io/a/b:latest"
    assert base_images("FROM --platform=linux/amd64 python:3.11-slim", {}) == ["docker.io/library/python:3.11-slim"]


def test_a_base_that_is_named_by_digest_is_made_here_all_the_same() -> None:
    text = f"ARG BASE=python:3.11-slim@sha256:{'0' * 64}\nARG OTHER=1\nFROM ${{BASE}}\n"
    assert own_bases(text) == {"BASE": "python:3.11-slim"}
    assert base_images(text, own_bases(text)) == ["docker.io/library/python:3.11-slim"]


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("redis:7", "docker.io/library/redis:7"),
        ("redis", "docker.io/library/redis:latest"),
        ("team/app:1", "docker.io/team/app:1"),
        ("localhost/app:1", "localhost/app:1"),
        ("registry:5000/app", "registry:5000/app:latest"),
        ("ghcr.io/team/app:1", "ghcr.io/team/app:1"),
    ],
)
def test_a_name_is_completed_like_containerd_does(tag: str, name: str) -> None:
    assert full_name(tag) == name


def test_a_base_that_cannot_be_made_here_is_refused_with_those_that_can() -> None:
    with pytest.raises(
        ClusterError, match=r"no image docker.io/library/alpine:3; start from one of .*python:3.11-slim"
    ):
        images.base(full_name("alpine:3"))


def test_only_the_newest_two_archives_of_an_image_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    directory = tmp_path / "celeriac" / "images"
    directory.mkdir(parents=True)
    made = [directory / f"docker.io_library_shop_1-{number:016x}.tar" for number in (3, 1, 2)]
    other = directory / f"docker.io_library_shop_10-{4:016x}.tar"
    for age, path in enumerate([other, *made]):
        path.touch()
        os.utime(path, (age, age))
    images.remove_old_versions(ImageArchive("docker.io/library/shop:1", made[-1]))
    assert set(directory.iterdir()) == {other, *made[1:]}
