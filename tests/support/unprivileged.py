"""Child processes that are bound by file permissions even if the tests run as root."""

from __future__ import annotations

import ctypes
import os
import subprocess
from functools import cache

_DROP = 24
"""PR_CAPBSET_DROP of prctl(2): `exec` does not give back a capability that left the bounding set."""
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2
"""The two capabilities that ignore file permissions (capabilities(7))."""


def without_override() -> None:
    """Make file permissions count for root, as a `preexec_fn`. Raises OSError if this host does not allow that."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (_DAC_OVERRIDE, _DAC_READ_SEARCH):
        if libc.prctl(_DROP, capability, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "the bounding set of capabilities can't be narrowed here")


@cache
def can_be_dropped() -> bool:
    """True if this host lets a process give up those capabilities."""
    try:
        subprocess.run(["true"], preexec_fn=without_override, check=True)
    except subprocess.SubprocessError:
        return False
    return True
