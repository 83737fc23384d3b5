"""Counting what a transaction changes of the deliveries of each sink."""

from __future__ import annotations

from collections import Counter

Changes = Counter[tuple[str, str]]
"""The number of deliveries that a transaction adds (or takes away), by sink and state."""
