"""A dry run: a registry and a key of its own, a real cluster, and everything verified and installed as a user would."""

import json
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from release import bases, chart, signing
from release.container_images import Pushed
from release.make import Made, Order, make
from release.registry import Registry
from release.signing import Cosign
from release.versions import ROOT
from tests.cluster import images, tools
from tests.cluster.cluster import Cluster
from tests.cluster.errors import ClusterError
from tests.cluster.ports import free_port
from tests.cluster.process import GuardedLauncher, run, wait_until
from tests.cluster.progress import console, step

SYSTEM = "celeriac"
SAMPLES = ROOT / "worker-image" / "samples"
SECONDS = 120.0
CONFIG = """\
version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdir: {folder}}}
http: {{addr: "{address}"}}
"""


@dataclass(frozen=True)
class Stage:
    """Where the dry run happens."""

    cluster: Cluster
    registry: Registry
    folder: Path


def rehearse(out: Path) -> None:
    """Make a release into `out` and a registry on this machine, verify it, install it; raises ClusterError."""
    with staged() as stage:
        private, public = signing.key_pair(stage.folder)
        base = bases.publish(stage.registry)
        signer = Cosign(str(private), stage.registry, log=False, password="")
        order = Order(stage.registry, signer, out, "https://downloads.invalid", base=base, rehearsal=True)
        made = make(order)
        verifier = Cosign(str(public), stage.registry, log=False)
        with step("verify signatures, SBOMs and checksums with the public key alone"):
            verify(made, verifier)
        with step("see what was tampered with refused"):
            see_refused(made, verifier, stage.folder)
        with step("install kubectl-celery with krew and run it"):
            try_plugin(made, stage.folder)
        with step("run the operator's image for linux/arm64"):
            run_foreign(made.images[0], stage)
        with step("install the chart by digest, and let a worker of the demo image run a task"):
            install(made, stage)


@contextmanager
def staged() -> Iterator[Stage]:
    """A cluster whose node pulls from a registry on this machine."""
    program = shutil.which("docker-registry")
    if not program:
        raise ClusterError("docker-registry is missing: run tests/cluster/install-packages release")
    with (
        tempfile.TemporaryDirectory(prefix="celeriac-release-") as directory,
        Cluster() as cluster,
    ):
        folder = Path(directory)
        address = f"{cluster.slot.host}:{free_port()}"
        config = folder / "registry.yaml"
        config.write_text(CONFIG.format(folder=folder / "registry", address=address))
        (folder / "launched").mkdir()
        process = GuardedLauncher(folder / "launched").start("registry", [program, "serve", str(config)])
        registry = Registry(f"{address}/celeriac-dev", plain=True)
        try:
            wait_until(lambda: _answers(address), "a registry that answers", seconds=20, processes=[process])
            cluster.pull_without_tls(address)
            yield Stage(cluster, registry, folder)
        finally:
            process.stop()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/v2/", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def verify(made: Made, cosign: Cosign) -> None:
    """Every signature, every SBOM; the operator's names what it must: the agent, and redis-py."""
    for image in (*made.images, made.chart):
        cosign.verify_image(image.by_digest)
    for image in made.images:
        for arch, digest in image.platforms.items():
            cosign.verify_image(f"{image.reference}@{digest}")
            sboms = cosign.attested(f"{image.reference}@{digest}")
            for_arch = {str(part["purl"]).rpartition("arch=")[2] for part in debian(sboms)}
            if not for_arch <= {arch, "all"}:
                raise ClusterError(f"the image of {image.name} for {arch} has packages for {for_arch}")
            lacking = {"redis", *(("celeriac-agent",) if image is made.images[0] else ("celery",))} - named(sboms)
            if lacking:
                raise ClusterError(f"the SBOM of {image.name} does not name {', '.join(lacking)}")
    cosign.attested(made.chart.by_digest)
    cosign.verify_file(made.folder / signing.CHECKSUMS, made.folder / signing.BUNDLE)
    run(["sha256sum", "--check", "--strict", "--quiet", signing.CHECKSUMS], cwd=made.folder)


def named(sboms: list[dict[str, object]]) -> set[str]:
    """The components of SBOMs by their names."""
    return {part["name"] for document in sboms for part in document["components"]}  # type: ignore[attr-defined]


def debian(sboms: list[dict[str, object]]) -> list[dict[str, object]]:
    """The Debian packages of SBOMs."""
    parts = [part for document in sboms for part in document["components"]]  # type: ignore[attr-defined]
    return [part for part in parts if str(part["purl"]).startswith("pkg:deb/")]


def see_refused(made: Made, cosign: Cosign, folder: Path) -> None:
    """Raises ClusterError when a changed file, another key or an unsigned image is accepted."""
    changed = folder / signing.CHECKSUMS
    changed.write_text((made.folder / signing.CHECKSUMS).read_text().replace("0", "1", 1))
    other = folder / "other"
    other.mkdir()
    stranger = Cosign(str(signing.key_pair(other)[1]), cosign.registry, log=False)
    unsigned = cosign.registry.name(f"{bases.NAME}:{bases.TAG}")
    attempts: dict[str, Callable[[], object]] = {
        "a changed list of checksums": lambda: cosign.verify_file(changed, made.folder / signing.BUNDLE),
        "the signature of another key": lambda: stranger.verify_image(made.images[0].by_digest),
        "an image without a signature": lambda: cosign.verify_image(unsigned),
    }
    for what, attempt in attempts.items():
        try:
            attempt()
        except ClusterError:
            continue
        raise ClusterError(f"{what} was accepted")


def try_plugin(made: Made, folder: Path) -> None:
    """Install the plugin as krew does, from its manifest, and ask kubectl for it."""
    root = folder / "krew"
    variables = {"KREW_ROOT": str(root), "PATH": f"{root}/bin:{tools.binary('kubectl').parent}:{os.environ['PATH']}"}
    (archive,) = made.folder.glob("kubectl-celery-*-linux-amd64.tar.gz")
    manifest = made.folder / "celery.krew.yaml"
    run([tools.binary("krew"), "install", f"--manifest={manifest}", f"--archive={archive}"], variables=variables)
    said = run(["kubectl", "celery", "--version"], variables=variables)
    if made.version not in said:
        raise ClusterError(f"kubectl celery --version said {said!r}")


def run_foreign(image: Pushed, stage: Stage) -> None:
    """Run the image of the other architecture where an emulator is; say so where there is none."""
    emulator = shutil.which("qemu-aarch64-static")
    if not emulator:
        console.print("  ! not run: qemu-aarch64-static is missing (tests/cluster/install-packages release)")
        return
    root = stage.folder / "arm64"
    root.mkdir()
    with stage.registry.file_system(f"{image.reference}@{image.platforms['arm64']}") as files:
        subprocess.run(["tar", "--extract", f"--directory={root}"], stdin=files, check=True)
    shutil.copy(emulator, root / "qemu")
    # A container without a home of its own has this one by its runtime.
    environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "PYTHONPATH=/app"]
    command = ["chroot", str(root), "/qemu", "/venv/bin/python3", "-m", "celeriac", "--version"]
    console.print(f"    {run([*environment, *command]).strip()} (linux/arm64)")


def install(made: Made, stage: Stage) -> None:
    """Helm by digest; the pod runs the very image; a worker of the demo image by digest runs a task."""
    cluster = stage.cluster
    target = [f"--kubeconfig={cluster.kubeconfig}", f"--namespace={SYSTEM}", "--create-namespace"]
    source = [f"oci://{made.chart.by_digest}", *chart.plain(stage.registry)]
    run([tools.binary("helm"), "install", "celeriac", *source, *target, "--wait", f"--timeout={SECONDS:.0f}s"])
    running = cluster.kubectl(f"--namespace={SYSTEM}", "get", "pods", "--output=jsonpath={..imageID}")
    operator = made.images[0]
    if not any(digest in running for digest in (operator.digest, operator.platforms["amd64"])):
        raise ClusterError(f"the operator's pod runs {running}, not {operator.by_digest}")
    cluster.provide(images.REDIS)
    for name in ("redis", "broker-secret"):
        cluster.kubectl("apply", f"--filename={SAMPLES / name}.yaml")
    pool = yaml.safe_load((SAMPLES / "ml.yaml").read_text())
    pool["spec"]["image"] = made.images[1].by_digest
    cluster.kubectl("apply", "--filename=-", stdin=json.dumps(pool))
    cluster.kubectl("rollout", "status", "deployment/redis", f"--timeout={SECONDS:.0f}s")
    sender = ["--image", made.images[1].by_digest, "--env=CELERY_BROKER_URL=redis://redis.default:6379/0"]
    script = "python -m celery_app.send --queue ml_service --count 3 --run it && python -m celery_app.report it --wait"
    cluster.kubectl("run", "sender", *sender, "--restart=Never", "--command", "--", "sh", "-c", script)
    done = "--for=jsonpath={.status.phase}=Succeeded"
    try:
        cluster.kubectl("wait", done, "pod/sender", f"--timeout={SECONDS:.0f}s")
    finally:
        console.print(cluster.kubectl("logs", "sender"), markup=False)
