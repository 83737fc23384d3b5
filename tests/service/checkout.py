"""A copy of the checkout to install from, and `make` in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("Makefile", "README.md", "pyproject.toml", "constraints.txt", "gateway", "config", "systemd")


class Checkout:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for part in PARTS:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / part, folder)

    def files(self) -> set[Path]:
        return {path.relative_to(self.folder) for path in self.folder.rglob("*")}

    def make(self, *arguments: str, **variables: str | Path) -> str:
        """Run a target; its output."""
        given = [f"{name}={value}" for name, value in {"PYTHON": sys.executable, **variables}.items()]
        done = subprocess.run(
            ["make", *arguments, *given],
            cwd=self.folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def release(self, version: str) -> None:
        """Make it another version of the gateway."""
        file = self.folder / "gateway/__init__.py"
        text, found = re.subn(r'^__version__ = ".*"$', f'__version__ = "{version}"', file.read_text(), flags=re.MULTILINE)
        assert found == 1
        file.write_text(text)


def run(*command: str | Path, seconds: float = 20.0) -> str:
    """The output of a command that succeeds."""
    done = subprocess.run(
        list(map(str, command)), cwd="/", env=_environment(), capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _environment() -> dict[str, str]:
    """This environment without the variables that name this checkout, and without the flags of the running `make`."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GATEWAY", "MAKE", "MFLAGS"))}
