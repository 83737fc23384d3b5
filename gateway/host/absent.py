"""Importing a library without one that it would use if it were there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def absent(name: str) -> Iterator[None]:
    """Let an import in the block find that a library is not installed, unless something has imported that already.

    `import` raises ModuleNotFoundError for a name whose entry in `sys.modules` is None (docs.python.org/3/reference/import.html).
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
