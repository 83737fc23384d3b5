"""Merkle trees agree with the published vectors, and a proof fits one leaf at one place of one tree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.merkle import EMPTY_ROOT, Tree, inclusion_paths, leaf_hash, root_by, root_of

# The vectors of Certificate Transparency: github.com/transparency-dev/merkle, testonly/constants.go and proof/verify_test.go.
LEAVES = [
    leaf_hash(bytes.fromhex(text))
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PROOFS = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


@pytest.mark.parametrize("size", range(9))
def test_a_root_is_that_of_certificate_transparency(size: int) -> None:
    assert root_of(LEAVES[:size]).hex() == ROOTS[size]


def test_a_tree_that_grows_has_the_root_of_each_size() -> None:
    tree = Tree()
    assert tree.root() == EMPTY_ROOT
    for size, leaf in enumerate(LEAVES, 1):
        tree.add(leaf)
        assert (tree.size, tree.root().hex()) == (size, ROOTS[size])


@pytest.mark.parametrize(("index", "size"), PROOFS)
def test_a_proof_is_that_of_certificate_transparency(index: int, size: int) -> None:
    path = inclusion_paths([index], LEAVES[:size])[0]
    assert [one.hex() for one in path] == PROOFS[index, size]
    root = root_by(path, LEAVES[index], index, size)
    assert root is not None and root.hex() == ROOTS[size]


# github.com/transparency-dev/merkle, proof/verify_test.go: proofs that no tree of that size has.
@pytest.mark.parametrize(
    ("index", "size", "path"),
    [(0, 0, []), (0, 1, [b"\x00" * 32]), (1, 0, []), (2, 1, []), (-1, 3, [b"\x00" * 32]), (0, 2, []), (3, 3, [])],
)
def test_a_proof_of_another_shape_leads_to_no_root(index: int, size: int, path: list[bytes]) -> None:
    assert root_by(path, LEAVES[0], index, size) is None


@given(st.data())
def test_a_proof_fits_its_own_leaf_at_its_own_place_and_nothing_else(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 70))
    leaves = [leaf_hash(bytes([number])) for number in range(size)]
    root, index = root_of(leaves), data.draw(st.integers(0, size - 1))
    (path,) = inclusion_paths([index], leaves)
    assert root_by(path, leaves[index], index, size) == root
    other = data.draw(st.integers(0, size - 1).filter(lambda one: one != index)) if size > 1 else index
    if other != index:
        assert root_by(path, leaves[other], index, size) != root
        assert root_by(path, leaves[index], other, size) != root
    assert root_by([*path, root], leaves[index], index, size) is None
    if path:
        assert root_by(path[:-1], leaves[index], index, size) is None


def test_a_proof_over_many_leaves_pauses_often() -> None:
    pauses: list[None] = []
    leaves = [leaf_hash(b"%d" % number) for number in range(10_000)]
    assert inclusion_paths([4711], leaves, lambda: pauses.append(None)) == inclusion_paths([4711], leaves)
    assert len(pauses) > 10_000 / 64
