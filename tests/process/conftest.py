"""Fixtures for the tests of a real gateway."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.receivers import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver
