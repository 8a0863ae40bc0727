"""``python -m tests.agent.environments [VERSION]...``: one Python environment for each version of Celery.

    python -m tests.agent.environments            the oldest and the newest: what `make test` needs
    python -m tests.agent.environments all        every version that the agent supports
    python -m tests.agent.environments today      what pip resolves now for each minor version
    python -m tests.agent.environments apps       the same with packages that applications put beside Celery
    python -m tests.agent.environments 5.4 5.6-today

Each is made once into the cache from requirements/celery-<version>.txt and made anew when that file changes. Python is
the one that runs this; uv finds packages as it does everywhere on this machine. The files are compiled by

    uv pip compile --no-emit-index-url --no-header --no-annotate --generate-hashes --python-version 3.11 requirements.in

from celery[redis], gevent, eventlet, Django and the kombu of the same age: those of images that were built at the time.
The files `celery-<version>-today.txt` are compiled from celery[redis]==<version>.*, gevent, eventlet and Django alone:
those of images that are built now, where pip puts the newest kombu and redis-py beside an older Celery. That kombu
refuses the redis-py of celery[redis] before 5.5, and imports `packaging`: these two have kombu[redis] and packaging.
The files `celery-<version>-apps.txt` are those of today without Django, and with what applications put beside Celery:
celery-batches, celery-once and the six that it imports, celery-singleton, celery-aio-pool, sentry-sdk, ddtrace,
opentelemetry-sdk, opentelemetry-instrumentation-{celery,redis}. No celery-batches allows Celery 5.7: that one lacks it.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster import paths
from tests.cluster.progress import console, step

REQUIREMENTS = Path(__file__).with_name("requirements")
MADE = tuple(sorted(file.stem.removeprefix("celery-") for file in REQUIREMENTS.glob("celery-*.txt")))
TODAY = tuple(version for version in MADE if version.endswith("-today"))
APPS = tuple(version for version in MADE if version.endswith("-apps"))
VERSIONS = tuple(version for version in MADE if version not in TODAY + APPS)
OLDEST, NEWEST = VERSIONS[0], VERSIONS[-1]


class MakeError(RuntimeError):
    """uv could not make an environment; the message carries what it said."""


def python(version: str) -> Path:
    """The interpreter of the environment with that Celery ("5.3", "5.6-today"), made first if it is not there.

    Raises KeyError for a version without a requirements file, MakeError when uv fails.
    """
    if version not in MADE:
        raise KeyError(f"there is no Celery {version} here; choose from {', '.join(MADE)}")
    requirements = REQUIREMENTS / f"celery-{version}.txt"
    content = f"{sys.version}\n{requirements.read_text()}".encode()
    directory = paths.cache() / "celery"
    environment = directory / f"{version}-{hashlib.sha256(content).hexdigest()[:12]}"
    interpreter = environment / "bin" / "python"
    if not interpreter.exists():
        with paths.locked(directory, lambda: console.print(f"  … another process makes environments in {directory}")):
            if not interpreter.exists():
                _make(version, requirements, environment)
    return interpreter


def _make(version: str, requirements: Path, environment: Path) -> None:
    """Make it beside its place and move it there in one step: what is there is whole."""
    with step(f"Python environment with Celery {version}"), paths.scratch(environment.parent) as scratch:
        made = scratch / environment.name
        _uv("venv", "--relocatable", "--python", sys.executable, str(made))
        _uv(
            "pip",
            "install",
            "--python",
            str(made / "bin" / "python"),
            "--require-hashes",
            "--requirements",
            str(requirements),
        )
        made.rename(environment)


def _uv(*arguments: str) -> None:
    # `uv run` names itself; outside of it uv is on the path or where `make setup` puts it.
    uv = os.environ.get("UV") or shutil.which("uv") or str(paths.cache() / "uv" / "bin" / "uv")
    done = subprocess.run([uv, "--quiet", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MakeError(f"uv {' '.join(arguments)} failed:\n{done.stderr.strip()}")


def main(arguments: list[str]) -> None:
    """Make what is named; see the module's text."""
    if any(argument in ("-h", "--help") for argument in arguments):
        print(__doc__)
        return
    groups = {(): (OLDEST, NEWEST), ("all",): VERSIONS, ("today",): TODAY, ("apps",): APPS}
    wanted = groups.get(tuple(arguments), tuple(arguments))
    if unknown := [version for version in wanted if version not in MADE]:
        sys.exit(
            f"there is no Celery {', '.join(unknown)} here; choose from {', '.join(MADE)}, `all`, `today` or `apps`"
        )
    for version in wanted:
        python(version)


if __name__ == "__main__":
    main(sys.argv[1:])
