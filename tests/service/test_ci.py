"""`.ci/run` gets what the tests drive where it may, and runs them in any case."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.forked_gateway import CODE

RUN = CODE / ".ci" / "run"
TOOLS = ("bash", "env", "dirname", "timeout", "chmod", "rm")
"""All that a bare machine needs for it; beside them stand `make`, `id` and `apt-get` of the test."""
APT = """#!/bin/bash
echo "apt-get $*" >> "$PWD_OF_TEST/apt"
{ [ -e "$POLICY_RC_D" ] && "$POLICY_RC_D"; echo "policy $? runlevel $RUNLEVEL"; } >> "$PWD_OF_TEST/apt"
case "$*" in
	*update*) exit %(update)d ;;
	*caddy*) exit 100 ;;
	*) exit %(install)d ;;
esac
"""


class Machine:
    """A machine with nothing but the tools above, and what came of `.ci/run` there."""

    def __init__(self, folder: Path, *, uid: int, apt: str | None, has: tuple[str, ...] = (), make: int = 0) -> None:
        self.folder = folder
        tools = folder / "bin"
        tools.mkdir()
        for name in TOOLS:
            found = shutil.which(name)
            assert found is not None
            (tools / name).symlink_to(found)
        self._script(tools / "make", f'#!/bin/bash\necho "make $*"\nexit {make}\n')
        self._script(tools / "id", f"#!/bin/bash\necho {uid}\n")
        for name in has:
            self._script(tools / name, "#!/bin/bash\n")
        if apt is not None:
            self._script(tools / "apt-get", apt)
        self.policy = folder / "policy-rc.d"
        variables = {"PATH": str(tools), "POLICY_RC_D": str(self.policy), "PWD_OF_TEST": str(folder)}
        bash = shutil.which("bash")
        assert bash is not None
        # /usr/sbin is looked into as well: a copy of the script looks into an empty folder instead.
        copy = folder / "checkout" / ".ci" / "run"
        copy.parent.mkdir(parents=True)
        copy.write_text(RUN.read_text(encoding="utf-8").replace("$PATH:/usr/sbin:/sbin", "$PATH"), encoding="utf-8")
        done = subprocess.run([bash, str(copy)], env=variables, capture_output=True, text=True, timeout=60, check=False)
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def asked(self) -> list[str]:
        """The calls of apt-get, and the answers that a package would have had on starting services."""
        return (self.folder / "apt").read_text(encoding="utf-8").splitlines()

    @staticmethod
    def _script(path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
class TestRun:
    @pytest.mark.parametrize(("update", "install"), [(0, 0), (100, 0), (0, 100), (100, 100)])
    def test_root_gets_the_missing_packages_no_service_starts_and_no_failure_counts(
        self, tmp_path: Path, update: int, install: int
    ) -> None:
        apt = APT % {"update": update, "install": install}
        machine = Machine(tmp_path, uid=0, apt=apt, has=("strace", "zsh"))
        assert machine.status == 0, machine.err
        assert machine.err == "" and machine.out.splitlines()[-1] == "make test"
        assert machine.asked[0] == "apt-get update -qq"
        asked = [line.split()[-1] for line in machine.asked if " install " in line]
        assert "nginx-light" in asked and "exim4-daemon-light" in asked and not {"strace", "zsh"} & set(asked)
        assert {line for line in machine.asked if line.startswith("policy")} == {"policy 101 runlevel 1"}
        assert all("--no-remove" in line for line in machine.asked if " install " in line)
        failed = {line.split()[1] for line in machine.out.splitlines() if "could not be installed" in line}
        assert failed == (set(asked) if install else {"caddy"})
        assert not machine.policy.exists()

    @pytest.mark.parametrize(("uid", "apt"), [(1000, APT % {"update": 0, "install": 0}), (0, None)], ids=["not root", "no apt"])
    def test_others_are_told_what_is_missing(self, tmp_path: Path, uid: int, apt: str | None) -> None:
        machine = Machine(tmp_path, uid=uid, apt=apt)
        first, last = machine.out.splitlines()
        assert (machine.status, machine.err, last) == (0, "", "make test")
        assert first.startswith("ci: without root and apt-get, ") and "nginx-light" in first
        assert not (tmp_path / "apt").exists()

    def test_a_test_that_fails_fails_the_run(self, tmp_path: Path) -> None:
        assert Machine(tmp_path, uid=1000, apt=None, make=2).status == 2
