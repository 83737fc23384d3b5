"""A metric that cannot be counted never fails the work that it counts."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from gateway.observability.metrics import Metrics

TOLD = sorted(name for name, _ in inspect.getmembers(Metrics, callable) if not name.startswith("_"))
ASKED = ("exposition", "pieces")
"""These methods serve a reader of the metrics, who has to see an error."""


class Broken:
    """A value that cannot be converted to a number or a text, and cannot be compared."""

    def _fail(self, *_: object) -> Any:
        raise RuntimeError("a bug")

    __str__ = __float__ = __int__ = __hash__ = __eq__ = __lt__ = __le__ = __sub__ = __iter__ = __bool__ = _fail


@pytest.mark.parametrize("name", [name for name in TOLD if name not in ASKED])
def test_no_method_raises_for_any_argument(name: str) -> None:
    metrics = Metrics()
    method = getattr(metrics, name)
    parameters = inspect.signature(method).parameters.values()
    given = {parameter.name: Broken() for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}
    method(**given)
    assert metrics.failed == (1 if given else 0)
    assert metrics.exposition()


def test_there_are_methods_to_try() -> None:
    assert {"message", "commit", "attempt", "rejection", "log_dropped"} <= set(TOLD)
