"""`make package`: what the wheel and the source archive hold, and that the usual tools install them."""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import gateway
from tests.service.checkout import ROOT, Checkout, run

real = pytest.mark.skipif(not os.environ.get("GATEWAY_PACKAGE"), reason="slow: make package-test")
NAME = f"legitmark_gateway-{gateway.__version__}"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = Checkout(tmp_path_factory.mktemp("package") / "checkout")
    before = checkout.files()
    said = checkout.make("package")
    made = {Path("dist"), Path(f"dist/{NAME}-py3-none-any.whl"), Path(f"dist/{NAME}.tar.gz")}
    assert checkout.files() - before == made, "and nothing else is left behind"
    assert said.splitlines() == sorted(str(path) for path in made if path.suffix)
    return checkout


@pytest.fixture
def wheel(checkout: Checkout) -> Path:
    return checkout.folder / f"dist/{NAME}-py3-none-any.whl"


def test_the_wheel_holds_all_that_the_package_reads(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {path for path in (ROOT / "gateway").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {str(path.relative_to(ROOT)) for path in ours} == {name for name in names if name.startswith("gateway/")}
    kinds = {path.suffix for path in ours}
    assert {".sql", ".json"} < kinds
    assert any("templates" in name for name in names)
    assert any("labels" in name for name in names)
    assert {name.split("/")[0] for name in names} == {"gateway", f"{NAME}.dist-info"}


def test_the_version_has_one_place(wheel: Path) -> None:
    metadata = zipfile.ZipFile(wheel).read(f"{NAME}.dist-info/METADATA").decode()
    assert f"\nVersion: {gateway.__version__}\n" in metadata


def test_the_source_archive_holds_what_an_installation_needs(checkout: Checkout) -> None:
    with tarfile.open(checkout.folder / f"dist/{NAME}.tar.gz") as archive:
        names = {name.removeprefix(f"{NAME}/") for name in archive.getnames()}
        script = archive.getmember(f"{NAME}/systemd/install.sh")
    assert {"Makefile", "constraints.txt", "pyproject.toml", "config/service.toml"} < names
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "systemd").iterdir()} < names
    assert script.mode & 0o100, "it can be run"


@real
def test_pipx_installs_a_working_command(wheel: Path, tmp_path: Path) -> None:
    pipx = shutil.which("pipx")
    if pipx is None:
        pytest.skip("pipx is not installed")
    homes = [f"PIPX_HOME={tmp_path / 'home'}", f"PIPX_BIN_DIR={tmp_path / 'bin'}", f"PIPX_DEFAULT_PYTHON={sys.executable}"]
    run("env", *homes, pipx, "install", wheel, seconds=300)
    _tries(tmp_path / "bin/gateway", tmp_path)


@real
def test_uv_installs_a_working_command(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "uv", seconds=60)
    run(tmp_path / "uv/bin/pip", "install", "--quiet", "uv", seconds=300)
    homes = [f"UV_TOOL_DIR={tmp_path / 'home'}", f"UV_TOOL_BIN_DIR={tmp_path / 'bin'}", "UV_NO_CACHE=1"]
    uv, pins = tmp_path / "uv/bin/uv", ROOT / "constraints.txt"
    run("env", *homes, uv, "tool", "install", "--python", sys.executable, "--constraints", pins, wheel, seconds=300)
    _tries(tmp_path / "bin/gateway", tmp_path)


def _tries(command: Path, folder: Path) -> None:
    """Commands that read the package's files: templates, labels, the schema."""
    assert run(command, "--version") == f"{gateway.__version__}\n"
    assert "Everything arrived as expected" in run(command, "demo", "--once", "--dir", folder / "demo", seconds=90)
    run(command, "init", folder / "gateway.toml")
    assert (folder / "gateway.schema.json").is_file()


def test_a_checkout_is_set_up_from_pinned_and_hashed_packages_alone() -> None:
    recipe = (ROOT / "Makefile").read_text().split("\n$(VENV)/.installed:")[1]
    installs = [line.partition("pip install")[2] for line in recipe.splitlines() if "pip install" in line]
    assert len(installs) == 3
    for options in installs:
        assert "--require-hashes -r " in options or options.endswith(" --no-deps --no-build-isolation -e ."), options
