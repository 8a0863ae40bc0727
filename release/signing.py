"""Signatures, by cosign and a key that is given from outside; the public half is all that a user needs."""

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from release.registry import Registry
from tests.cluster import tools
from tests.cluster.process import run

CHECKSUMS = "SHA256SUMS"
BUNDLE = f"{CHECKSUMS}.sigstore.json"


@dataclass(frozen=True)
class Cosign:
    """cosign with one key: a file, or `env://NAME`. Its password is `password`, or else COSIGN_PASSWORD.

    `log`: signatures are told to the public transparency log (Rekor), and looked for there. A dry run has none.
    """

    key: str
    registry: Registry
    log: bool = True
    password: str | None = None

    def sign_image(self, reference: str) -> None:
        """Sign what is in the registry under a digest, and each part of an index."""
        self._run("sign", "--recursive", f"--key={self.key}", *self._quiet(), *self._reach(), reference)

    def attest(self, reference: str, sbom: Path) -> None:
        """Attach an SBOM to an image, signed."""
        what = ("--type=cyclonedx", f"--predicate={sbom}")
        self._run("attest", *what, f"--key={self.key}", *self._quiet(), *self._reach(), reference)

    def sign_file(self, file: Path, bundle: Path) -> None:
        """Sign a file; the signature is a file beside it."""
        self._run("sign-blob", f"--key={self.key}", *self._quiet(), f"--bundle={bundle}", str(file))

    def public_key(self) -> str:
        """The public half of the key."""
        return self._run("public-key", f"--key={self.key}")

    def verify_image(self, reference: str) -> None:
        """Raises ClusterError when there is no signature by this key (a public one) on it."""
        self._run("verify", f"--key={self.key}", *self._unlogged(), *self._reach(), reference)

    def attested(self, reference: str) -> list[dict[str, object]]:
        """The SBOMs attached to an image; raises ClusterError when none of them is signed by this key."""
        what = ("--type=cyclonedx", f"--key={self.key}")
        lines = self._run("verify-attestation", *what, *self._unlogged(), *self._reach(), reference).splitlines()
        return [_predicate(line) for line in lines if line.strip()]

    def verify_file(self, file: Path, bundle: Path) -> None:
        """Raises ClusterError when the file is not the one that this key has signed."""
        self._run("verify-blob", f"--key={self.key}", f"--bundle={bundle}", *self._unlogged(), str(file))

    def _run(self, *arguments: str) -> str:
        variables = {} if self.password is None else {"COSIGN_PASSWORD": self.password}
        return run([tools.binary("cosign"), *arguments], variables=variables)

    def _quiet(self) -> list[str]:
        log = [] if self.log else ["--use-signing-config=false", "--tlog-upload=false"]
        return ["--yes", *log]

    def _unlogged(self) -> list[str]:
        return [] if self.log else ["--insecure-ignore-tlog=true"]

    def _reach(self) -> list[str]:
        return ["--allow-http-registry", "--allow-insecure-registry"] if self.registry.plain else []


def _predicate(line: str) -> dict[str, object]:
    statement = json.loads(base64.b64decode(json.loads(line)["payload"]))
    predicate: dict[str, object] = statement["predicate"]
    return predicate


def key_pair(folder: Path) -> tuple[Path, Path]:
    """A private and a public key for one dry run, without a password."""
    run([tools.binary("cosign"), "generate-key-pair"], cwd=folder, variables={"COSIGN_PASSWORD": ""})
    return folder / "cosign.key", folder / "cosign.pub"


def write_checksums(folder: Path, files: Iterable[Path]) -> Path:
    """The file that `sha256sum --check` reads."""
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(files)]
    target = folder / CHECKSUMS
    target.write_text("".join(lines))
    return target
