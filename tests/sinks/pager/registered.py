"""Puts the pager into the list of sink types of this process."""

from __future__ import annotations

from gateway.sinks import SINK_TYPES
from tests.sinks.pager import TYPE

SINK_TYPES[TYPE.name] = TYPE
