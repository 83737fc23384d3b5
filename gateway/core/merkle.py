"""Merkle trees over lines: root, inclusion proof, and the check of a proof (RFC 6962, section 2.1; RFC 9162, section 2.1.3).

A leaf is hashed behind a zero byte and a node behind a one byte, so that no leaf can pass for a node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

EMPTY_ROOT = sha256().digest()
"""The root of a tree without leaves."""
_AT_ONCE = 64
"""Nodes that are hashed between two pauses."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf: SHA-256 of a zero byte and the data."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node: SHA-256 of a one byte and the hashes of its two children."""
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that grows by one leaf at a time and keeps one hash for each complete subtree: 32 bytes for each bit of its size."""

    def __init__(self) -> None:
        self.size = 0
        """The number of leaves."""
        self._complete: list[bytes] = []
        """The roots of the complete subtrees, the largest first: one for each bit that is set in `size`."""

    def add(self, leaf: bytes) -> None:
        """Add the hash of the next leaf."""
        complete, ends = self._complete, self.size
        while ends & 1:
            leaf = node_hash(complete.pop(), leaf)
            ends >>= 1
        complete.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Return the root of all leaves so far."""
        if not self._complete:
            return EMPTY_ROOT
        *larger, root = self._complete
        for complete in reversed(larger):
            root = node_hash(complete, root)
        return root


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root over the hashes of leaves, in their order."""
    tree = Tree()
    for leaf in leaves:
        tree.add(leaf)
    return tree.root()


def inclusion_paths(
    indexes: Sequence[int], leaves: Sequence[bytes], pause: Callable[[], None] = lambda: None
) -> list[list[bytes]]:
    """Return a proof for each of some leaves: the siblings on the way from the leaf to the root (RFC 6962, section 2.1.1).

    Args:
        indexes: the places of the leaves, from 0.
        leaves: the hashes of all leaves.
        pause: is called often, so that other threads go first.
    """
    paths: list[list[bytes]] = [[] for _ in indexes]
    places, level = list(indexes), list(leaves)
    while len(level) > 1:
        for number, place in enumerate(places):
            if (sibling := place ^ 1) < len(level):
                paths[number].append(level[sibling])
            places[number] = place >> 1
        above: list[bytes] = []
        for begin in range(0, len(level) - 1, 2 * _AT_ONCE):
            end = min(begin + 2 * _AT_ONCE, len(level) - 1)
            above += [node_hash(level[at], level[at + 1]) for at in range(begin, end, 2)]
            pause()
        level = above + level[len(above) * 2 :]
    return paths


def root_by(path: Sequence[bytes], leaf: bytes, index: int, size: int) -> bytes | None:
    """Return the root that a proof leads to (RFC 9162, section 2.1.3.2); None if no tree of that size has such a proof.

    Args:
        leaf: the hash of the leaf.
        index: the place of the leaf, from 0.
        size: the number of leaves in the tree.
    """
    if not 0 <= index < size:
        return None
    first, last, root = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if first & 1 or first == last:
            root = node_hash(sibling, root)
            while first and not first & 1:
                first >>= 1
                last >>= 1
        else:
            root = node_hash(root, sibling)
        first >>= 1
        last >>= 1
    return root if last == 0 else None
