"""The suite works from any folder: one named like a mount path, one with a space, one that a symbolic link leads to."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from celeriac.resources.agent import AGENT_DIR
from celeriac.resources.bootstrap import AGENT_BOOTSTRAP, RUN_DIR
from tests.cluster import paths
from tests.cluster.cli import main
from tests.cluster.cluster import CONFIG
from tests.cluster.errors import ClusterError
from tests.cluster.sandbox import INIT, Sandbox
from tests.integration.mounts import mounted

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
FOLDER = Path("/tmp/a test/agent")


def test_a_mount_path_is_replaced_where_it_stands_by_itself_and_in_no_other_path() -> None:
    assert f'sys.path.append("{FOLDER}")' in mounted(AGENT_BOOTSTRAP, {AGENT_DIR: FOLDER})
    assert mounted("/celeriac/celeriac_agent.py", {AGENT_DIR: FOLDER}) == f"{FOLDER}/celeriac_agent.py"
    for other in (RUN_DIR, "/src/celeriac/.venv/bin/python", "/celeriac-2/bin/python", "/celeriac.old", "celeriac/x"):
        assert mounted(other, {AGENT_DIR: FOLDER}) == other


def test_a_folder_is_quoted_in_a_url_and_in_nothing_else() -> None:
    mounts = {"/tls": Path("/tmp/a+b & c")}
    assert mounted("rediss://h/0?ssl_ca_certs=/tls/ca.crt", mounts).endswith("=/tmp/a%2Bb%20%26%20c/ca.crt")
    assert mounted("/tls/ca.crt", mounts) == "/tmp/a+b & c/ca.crt"


@pytest.fixture
def uv(tmp_path: Path) -> Path:
    """A program below a home with a space in its name; it writes down its arguments, one a line."""
    program = tmp_path / "a home" / "uv"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf \'%s\\n\' "$@" >"$0.called"\n')
    program.chmod(0o755)
    return program


def test_make_calls_a_uv_that_is_below_a_home_with_a_space_in_its_name(uv: Path) -> None:
    subprocess.run(["make", "-C", ROOT, "unit", f"UV={uv}"], check=True, capture_output=True)
    called = Path(f"{uv}.called").read_text().split()
    assert called[:5] == ["run", "--frozen", "pytest", "tests/unit", "-m"]


def test_in_the_makefile_every_path_of_this_machine_stands_in_quotes() -> None:
    lines = (ROOT / "Makefile").read_text().splitlines()
    recipes = [line for line in lines if line.startswith(("\t", "UV_"))]
    bare = [line for line in recipes if re.search(r'(?<!")\$\((UV|CACHE|HOME)\)', line)]
    assert len(recipes) > 20
    assert bare == []


@pytest.mark.parametrize("file", [*sorted(CONFIG.iterdir()), INIT], ids=lambda file: str(file.name))
def test_in_the_nodes_configuration_every_path_of_this_machine_stands_in_quotes(file: Path) -> None:
    lines = file.read_text().splitlines()
    bare = [line for line in lines if re.search(r'(?<!")\$(directory|ca|cni_programs)\b', line)]
    assert [line for line in bare if not line.startswith("directory=")] == []


def test_programs_and_state_are_where_a_symbolic_link_to_the_home_leads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "home").symlink_to("disk")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home" / "my state"))
    assert paths.cache() == tmp_path / "disk" / ".cache" / "celeriac"
    assert paths.state() == tmp_path / "disk" / "my state" / "celeriac" / "clusters"


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "XDG_STATE_HOME"])
def test_a_folder_that_a_node_does_not_see_is_refused_by_the_name_of_its_variable(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "/var/lib/jenkins/.local")
    with pytest.raises(ClusterError, match=f"set {variable} to"):
        Sandbox("shop", paths.state() / "shop")


def test_the_line_that_points_kubectl_at_a_cluster_is_one_word_to_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kind` is a script that knows this cluster."""
    state = tmp_path / "my state"
    directory = state / "celeriac" / "clusters" / "shop"
    directory.mkdir(parents=True)
    (directory / "kind.kubeconfig").touch()
    kind = tmp_path / "kind"
    kind.write_text("#!/bin/sh\necho shop\n")
    kind.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    answer = CliRunner().invoke(main, ["up", "--name", "shop"])
    assert shlex.split(answer.output) == ["export", f"KUBECONFIG={directory}/kind.kubeconfig"]
