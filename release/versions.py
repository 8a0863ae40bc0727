"""The version, which pyproject.toml has, the other places that say it, and what the changelog says of it.

`python -m release.versions` (part of `make generate`) carries the version to the other places.
"""

import re
import tomllib
from pathlib import Path

from tests.cluster.errors import ClusterError

ROOT = Path(__file__).parents[1]
CHANGELOG = ROOT / "CHANGELOG.md"
UNRELEASED = "Unreleased"
PLACES = {
    "operator/celeriac/__init__.py": r'(?m)^(__version__ = ").*(")$',
    "charts/celeriac/Chart.yaml": r"(?m)^((?:version|appVersion): ).*()$",
}
"""Files of the checkout that repeat the version, and where in them it stands: between the two groups."""


def version() -> str:
    """The version of this checkout."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def carry() -> None:
    """Write the version into the places that repeat it."""
    for name, pattern in PLACES.items():
        file = ROOT / name
        file.write_text(re.sub(pattern, rf"\g<1>{version()}\g<2>", file.read_text()))


def sections(changelog: str) -> dict[str, str]:
    """The text of each version in the changelog, "Unreleased" included."""
    parts = re.split(r"^## \[(.+?)\].*$", changelog, flags=re.MULTILINE)[1:]
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}


def notes(changelog: str, of: str, *, rehearsal: bool) -> str:
    """What the changelog says of a version.

    Raises ClusterError when it says nothing of it, or, unless it is a rehearsal, when lines are left under Unreleased:
    they would be in the release and in nobody's notes.
    """
    every = sections(changelog)
    if of not in every:
        raise ClusterError(f"CHANGELOG.md has no section [{of}]: what is Unreleased gets the version and the date")
    if every.get(UNRELEASED) and not rehearsal:
        raise ClusterError(f"CHANGELOG.md has lines under [{UNRELEASED}]: move them to [{of}]")
    return every[of]


if __name__ == "__main__":
    carry()
