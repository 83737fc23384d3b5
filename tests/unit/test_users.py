"""Users and roles: what each role includes, which names there are, and who acts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.secrets import Secret
from gateway.core.users import OWN_ACTORS, Role, User, Visitor, unfit_name


def test_each_role_includes_the_roles_before_it_and_no_other() -> None:
    included = {role: [other for other in Role if role.includes(other)] for role in Role}
    assert included == {
        Role.SUPPORT: [Role.SUPPORT],
        Role.READ: [Role.SUPPORT, Role.READ],
        Role.OPERATE: [Role.SUPPORT, Role.READ, Role.OPERATE],
    }
    assert [Visitor("ann", role, "token").sees_bodies for role in Role] == [False, True, True]


@pytest.mark.parametrize("name", ["suzuki", "suzuki@example.com", "鈴木 一郎", "O'Neill", "a" * 128])
def test_a_name_may_be_whatever_identity_providers_give(name: str) -> None:
    assert unfit_name(name) is None


@pytest.mark.parametrize(
    "name",
    ["", " ", " ann", "ann ", "ann, bob", "a\nb", "a\tb", "a\x00b", "\u202eann", "ann\udcff", "a" * 129, "admin", *OWN_ACTORS],
)
def test_a_name_that_is_no_text_on_one_line_is_refused(name: str) -> None:
    assert unfit_name(name) is not None


@given(st.text())
def test_a_fit_name_stands_on_one_line_and_is_one_value_of_a_header(name: str) -> None:
    if unfit_name(name) is None:
        assert name == name.strip() and "," not in name and name.isprintable() and len(name.splitlines()) == 1


def test_a_claim_is_kept_beside_the_user_unless_it_says_nothing_new() -> None:
    ann = Visitor("ann", Role.OPERATE, "session")
    assert [(str(ann.acting(claim)), ann.acting(claim).claimed) for claim in ("bob", "ann", "", None)] == [
        ("ann", "bob"),
        ("ann", None),
        ("ann", None),
        ("ann", None),
    ]


def test_a_user_with_another_token_role_or_name_is_another_user() -> None:
    ann = User("ann", Role.READ, Secret("one-token-of-ann"))
    assert ann.is_still(User("ann", Role.READ, Secret("one-token-of-ann")))
    for other in (
        None,
        User("bob", Role.READ, Secret("one-token-of-ann")),
        User("ann", Role.OPERATE, Secret("one-token-of-ann")),
        User("ann", Role.READ, Secret("two-token-of-ann")),
        User("ann", Role.READ, None),
    ):
        assert not ann.is_still(other)
    assert "one-token" not in repr(ann)
