"""A child process for which the permissions of files count, though the tests may run as root."""

from __future__ import annotations

import ctypes
import os
import subprocess
from functools import cache

_DROP = 24
"""PR_CAPBSET_DROP of prctl(2): what is gone from the bounding set is not regained by `exec`."""
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2
"""The two capabilities that pass over permissions (capabilities(7))."""


def without_override() -> None:
    """For `preexec_fn`: root becomes a user like any other, as far as files are concerned. Raises OSError where it may not."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (_DAC_OVERRIDE, _DAC_READ_SEARCH):
        if libc.prctl(_DROP, capability, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "the bounding set of capabilities can't be narrowed here")


@cache
def can_be_dropped() -> bool:
    """Whether this host lets a process give up its override."""
    try:
        subprocess.run(["true"], preexec_fn=without_override, check=True)
    except subprocess.SubprocessError:
        return False
    return True
