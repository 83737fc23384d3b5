"""A real systemd, booted in namespaces of its own with the real units and the code of this checkout.

It sees the files of this machine through an overlay, writes to memory alone, and uses the machine's network. This needs root and
the right to mount: `Booted.start` skips the test if it cannot boot, and says why.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.forked_gateway import CODE
from tests.support.webhooks import SECRET

ROOT = Path(__file__).parents[2]
SERVICE = "legitmark-gateway.service"
SOCKET = "legitmark-gateway.socket"

_BOOT = r"""
set -eu
scratch=$1 python=$2 code=$3 packages=$4
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$scratch/memory"
mkdir "$scratch/memory/upper" "$scratch/memory/work" "$scratch/memory/root"
root=$scratch/memory/root
mount -t overlay -o "lowerdir=/,upperdir=$scratch/memory/upper,workdir=$scratch/memory/work" overlay "$root"
for folder in run tmp dev var/lib var/log; do mount -t tmpfs -o mode=755 tmpfs "$root/$folder"; done
chmod 1777 "$root/tmp"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
# Nothing of this machine starts but the journal.
for unit in "$root"/usr/lib/systemd/system/*.target.wants/* "$root"/etc/systemd/system/*.target.wants/*; do
    case $unit in
    */systemd-journald.* | *'/*') ;;
    *) ln -sf /dev/null "$root/etc/systemd/system/${unit##*/}" ;;
    esac
done
opt=$root/opt/legitmark-gateway
mkdir -p "$opt/python" "$opt/code/gateway" "$opt/packages"
mount --bind "$python" "$opt/python"
mount --bind "$code/gateway" "$opt/code/gateway"
mount --bind "$packages" "$opt/packages"
cp -r "$scratch/files/." "$root"
chroot "$root" systemd-sysusers /usr/local/lib/sysusers.d/legitmark-gateway.conf
chroot "$root" chgrp -R legitmark-gateway /etc/legitmark-gateway
tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
cd "$root"
mkdir -p mnt/machine
pivot_root . mnt/machine
umount -l /mnt/machine
mount --make-rshared /  # systemd does so by itself where it is no container
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /usr/lib/systemd/systemd --system --unit=basic.target
"""

_COMMAND = """#!/bin/sh
export PYTHONPATH=/opt/legitmark-gateway/code:/opt/legitmark-gateway/packages PYTHONDONTWRITEBYTECODE=1
export LD_LIBRARY_PATH=/opt/legitmark-gateway/python/lib
exec /opt/legitmark-gateway/python/bin/{python} -m gateway "$@"
"""


class Booted:
    """The booted system. All of its processes and files end with the `with` block."""

    def __init__(self, port: int, toml: str) -> None:
        """
        Args:
            port: the port of 127.0.0.1 on which the socket unit listens.
            toml: the whole configuration of the gateway.
        """
        self.scratch = Path(tempfile.mkdtemp(prefix="booted."))
        self.address = ("127.0.0.1", port)
        self._cgroup: Path | None = None
        self._unshare: subprocess.Popen[bytes] | None = None
        self._first = 0
        self._write(port, toml)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    def start(self) -> None:
        """Boot, and start both units. Skips the test if this machine cannot boot another systemd."""
        self._cgroup = _new_cgroup()
        paths = (self.scratch, Path(sys.base_prefix), CODE, sysconfig.get_path("purelib"))
        script = f'echo $$ >{self._cgroup}/cgroup.procs && exec unshare "$@"'
        namespaces = ["--pid", "--mount", "--cgroup", "--ipc", "--uts", "--fork", "--kill-child=KILL"]
        with (self.scratch / "boot.log").open("wb") as log:
            self._unshare = subprocess.Popen(
                ["/bin/sh", "-c", script, "sh", *namespaces, "/bin/sh", "-c", _BOOT, "boot", *map(str, paths)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 20
        while not self._is_up():
            if self._unshare.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"systemd can't be booted here: {self.said()}")
            time.sleep(0.05)
        self.run("systemctl", "start", SOCKET, SERVICE)

    def run(self, *command: str, seconds: float = 60.0) -> str:
        """Run a command inside as root, and return its output; fail if the command fails."""
        done = subprocess.run(self._inside(*command), capture_output=True, text=True, timeout=seconds, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}\n{self.journal()}"
        return done.stdout

    def journal(self) -> str:
        """The log lines of the service."""
        command = self._inside("journalctl", "--no-pager", "--output=cat", f"--unit={SERVICE}")
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout

    def said(self) -> str:
        """The output of the boot, in one line."""
        return (self.scratch / "boot.log").read_text(errors="replace").strip().replace("\n", "; ") or "no reason was given"

    def end(self) -> None:
        if self._unshare is not None:
            self._unshare.kill()  # its child ends with it, and the first process of a namespace takes all others along
            self._unshare.wait(60)
        if self._cgroup is not None:
            for folder, _, _ in os.walk(self._cgroup, topdown=False):
                _remove(Path(folder))
        shutil.rmtree(self.scratch)

    def _write(self, port: int, toml: str) -> None:
        """Write the files that an installation and its operator would put there."""
        files = self.scratch / "files"
        (self.scratch / "memory").mkdir()
        units, etc = files / "usr/local/lib/systemd/system", files / "etc/legitmark-gateway"
        for folder in (units, etc / "credentials", files / "usr/local/lib/sysusers.d", files / "opt/legitmark-gateway/bin"):
            folder.mkdir(parents=True)
        for name in (SERVICE, SOCKET):
            shutil.copy(ROOT / "systemd" / name, units)
        shutil.copy(ROOT / "systemd/legitmark-gateway.sysusers.conf", files / "usr/local/lib/sysusers.d/legitmark-gateway.conf")
        (etc / "gateway.toml").write_text(toml)
        (etc / "gateway.toml").chmod(0o640)
        (etc / "credentials/legitmark").write_text(SECRET)
        drop_in = files / f"etc/systemd/system/{SOCKET}.d/port.conf"
        drop_in.parent.mkdir(parents=True)
        drop_in.write_text(f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{port}\n")
        command = files / "opt/legitmark-gateway/bin/gateway"
        command.write_text(_COMMAND.format(python=f"python{sys.version_info.major}.{sys.version_info.minor}"))
        command.chmod(0o755)

    def _inside(self, *command: str) -> list[str]:
        return ["nsenter", f"--target={self._first}", "--mount", "--pid", "--ipc", "--uts", "--cgroup", "--", *command]

    def _is_up(self) -> bool:
        assert self._unshare is not None
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
        first = children.read_text().split() if children.exists() else []
        if not first or Path(f"/proc/{first[0]}/comm").read_text() != "systemd\n":
            return False
        self._first = int(first[0])
        command = self._inside("systemctl", "is-active", "--quiet", "basic.target")
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def _new_cgroup() -> Path:
    """Make a control group for all processes inside. Skips the test if that is not possible."""
    for name in ("systemd", "unshare", "nsenter", "systemd-sysusers"):
        if shutil.which(name, path="/usr/lib/systemd:/usr/sbin:/usr/bin:/sbin:/bin") is None:
            pytest.skip(f"systemd can't be booted here: there is no {name}")
    if os.geteuid() != 0:
        pytest.skip("systemd can't be booted here: the tests don't run as root")
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    found = [Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"]
    if not found:
        pytest.skip("systemd can't be booted here: there is no cgroup2")
    try:
        return Path(tempfile.mkdtemp(prefix="booted.", dir=found[0]))
    except OSError as error:
        pytest.skip(f"systemd can't be booted here: {error}")


def _remove(cgroup: Path) -> None:
    """Remove a control group; a process that has ended leaves it only a moment later."""
    deadline = time.monotonic() + 10
    while True:
        try:
            cgroup.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
