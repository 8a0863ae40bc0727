"""A container's words on this machine: mount paths are folders of a test, `python` is the one of the tests."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from tests.cluster import tools


def mounted(text: str, mounts: Mapping[str, Path]) -> str:
    """The text with each mount path, or what lies below it, in the folder of this machine.

    A longer path that only contains a mount path stays: /run/celeriac is not /celeriac. In a URL the folder is quoted.
    """
    for path, folder in mounts.items():
        place = quote(str(folder)) if "://" in text else str(folder)
        text = re.sub(rf"(?<![\w./-]){re.escape(path)}(?![\w.-])", place.replace("\\", r"\\"), text)
    return text


def search_path(*programs: str) -> str:
    """A PATH on which `python`, the launcher of every pool that names none, is the Python of the tests.

    What that environment has of ours is on it as well, and those `programs` of tests/cluster/tools.
    """
    folders = (Path(sys.executable).parent, *(tools.binary(each).parent for each in programs))
    return os.pathsep.join((*map(str, folders), os.environ["PATH"]))
