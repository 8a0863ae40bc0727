"""The command: `python -m release --help`, or `make release`."""

from pathlib import Path

import click

from release.make import Order, make
from release.registry import Registry
from release.rehearsal import rehearse
from release.signing import Cosign
from release.versions import ROOT, version
from tests.cluster.errors import ClusterError
from tests.cluster.progress import console


@click.command()
@click.option("--dry-run", is_flag=True, help="Into a registry on this machine, installed and verified; no key needed.")
@click.option("--registry", help="Where to push: ghcr.io/somebody. Log in before, as for buildah, Helm and cosign.")
@click.option("--key", help="The private key for cosign: a file, or env://NAME. Its password is COSIGN_PASSWORD.")
@click.option("--downloads", help="The URL of the folder that the files will have, for krew's manifest.")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "dist" / "release", show_default="dist/release")
def main(dry_run: bool, registry: str | None, key: str | None, downloads: str | None, out: Path) -> None:
    """Make a release of this commit: build, push and sign everything, and leave the files in a folder."""
    try:
        if dry_run:
            rehearse(out)
            told = f"dry run of {version()}: made, signed, verified and installed; the files are in {out}"
        elif registry and key and downloads:
            where = Registry(registry)
            made = make(Order(where, Cosign(key, where), out, downloads))
            told = f"released {made.version}: {made.chart.by_digest}; publish the files in {out}"
        else:
            raise click.UsageError("a release takes REGISTRY, KEY and DOWNLOADS (docs/release.md); or DRY_RUN=1")
    except ClusterError as error:
        raise click.ClickException(str(error)) from error
    console.print(f"[green]✓[/] {told}", soft_wrap=True)


if __name__ == "__main__":
    main()
