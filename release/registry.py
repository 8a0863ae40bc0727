"""An OCI registry, as a release sees it: a place to push to, and what is there under which digest."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.cluster import tools
from tests.cluster.errors import ClusterError
from tests.cluster.process import run

ARCHITECTURES = ("amd64", "arm64")


@dataclass(frozen=True)
class Registry:
    """`prefix` is host and path (ghcr.io/somebody); `plain` is HTTP without TLS, for the registry of a dry run."""

    prefix: str
    plain: bool = False

    def name(self, image: str) -> str:
        """The name of an image there, without a tag."""
        return f"{self.prefix}/{image}"

    def crane(self, *arguments: str | Path) -> str:
        """Runs crane and returns what it prints; raises ClusterError with what the registry said."""
        return run(self._crane(arguments))

    def digest(self, reference: str) -> str:
        """The digest behind a reference: sha256:..."""
        return self.crane("digest", reference).strip()

    def platforms(self, reference: str) -> dict[str, str]:
        """The digest of each architecture of an index."""
        return {arch: self.crane("digest", f"--platform=linux/{arch}", reference).strip() for arch in ARCHITECTURES}

    @contextmanager
    def file_system(self, reference: str) -> Iterator[IO[bytes]]:
        """The files of an image of one platform, all layers applied, as a tar stream."""
        with subprocess.Popen(
            self._crane(("export", reference, "-")), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            yield process.stdout
            process.stdout.read()  # the padding behind the archive's end: crane fails where nobody reads it
            said = process.stderr.read().decode(errors="replace")
        if process.returncode:
            raise ClusterError(f"reading {reference} failed: {said}")

    def _crane(self, arguments: tuple[str | Path, ...]) -> list[str]:
        insecure = ["--insecure"] if self.plain else []
        return [str(tools.binary("crane")), *insecure, *(str(each) for each in arguments)]
