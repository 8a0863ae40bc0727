"""A ConfigMap as the kubelet mounts it: read-only files behind symbolic links, in one flat folder."""

from collections.abc import Mapping
from pathlib import Path

VERSION = "..2026_01_01_00_00_00.1234567890"


def mount(folder: Path, data: Mapping[str, str]) -> None:
    """Make the folder: each name is a link to `..data/name`, and `..data` is one to the folder with the contents."""
    contents = folder / VERSION
    contents.mkdir(parents=True)
    (folder / "..data").symlink_to(VERSION)
    for name, text in data.items():
        (contents / name).write_text(text)
        (contents / name).chmod(0o444)
        (folder / name).symlink_to(Path("..data") / name)
    contents.chmod(0o555)
    folder.chmod(0o555)
