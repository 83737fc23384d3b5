"""Whose address counts: the peer's own, or what a proxy that is trusted wrote down of it."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.peers import UNIX, Networks, client, parse_network, plain

TRUSTED = ["127.0.0.1", "10.0.0.0/8", "2001:db8:1::/48", UNIX]


@pytest.mark.parametrize(
    ("peer", "lines", "found"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # a stranger's word
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),  # what the client itself sent stands before
        ("127.0.0.1", ["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["203.0.113.9, 10.0.0.7", "10.0.0.8"], "203.0.113.9"),
        ("127.0.0.1", ["198.51.100.1,203.0.113.9,10.0.0.7"], "203.0.113.9"),
        ("127.0.0.1", ["10.0.0.9, 10.0.0.7"], "10.0.0.9"),  # a client inside
        ("127.0.0.1", ["203.0.113.9, garbage"], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9, unknown, 10.0.0.7"], "10.0.0.7"),
        ("127.0.0.1", ["203.0.113.9, , 10.0.0.7"], "10.0.0.7"),
        ("127.0.0.1", ["unix"], "127.0.0.1"),
        ("127.0.0.1", ["unix:"], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9:51234"], "203.0.113.9"),
        ("127.0.0.1", ["[2001:db8::9]:51234"], "2001:db8::9"),
        ("127.0.0.1", ["[2001:db8::9]"], "2001:db8::9"),
        ("127.0.0.1", [" 2001:DB8:0::9 "], "2001:db8::9"),
        ("127.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["fe80::1%eth0"], "fe80::1"),
        ("127.0.0.1", ["203.0.113.9, [2001:db8:1::5]:80"], "203.0.113.9"),
        ("::ffff:127.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("2001:db8:1::1", ["203.0.113.9"], "203.0.113.9"),
        (UNIX, ["203.0.113.9"], "203.0.113.9"),
        (UNIX, [], UNIX),
        ("", ["203.0.113.9"], ""),
        ("127.0.0.1", ["203.0.113.9:"], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9:99999999"], "127.0.0.1"),
        ("127.0.0.1", ["\udcff"], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9/32"], "127.0.0.1"),
        ("127.0.0.1", ["٢٠٣.0.113.9"], "127.0.0.1"),
    ],
)
def test_the_header_is_read_from_its_end_over_those_who_are_trusted(peer: str, lines: list[str], found: str) -> None:
    assert client(peer, lines, Networks(TRUSTED)) == found


def test_by_default_nobody_is_trusted() -> None:
    for peer in ("127.0.0.1", "::1", "10.0.0.1", UNIX):
        assert client(peer, ["203.0.113.9"], Networks()) == peer


def test_a_list_without_end_is_read_for_32_entries() -> None:
    trusted = Networks(TRUSTED)
    assert client("127.0.0.1", ["203.0.113.9", ",".join(["10.0.0.1"] * 31)], trusted) == "203.0.113.9"
    assert client("127.0.0.1", ["203.0.113.9", ",".join(["10.0.0.1"] * 32)], trusted) == "10.0.0.1"


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("203.0.113.0", True),
        ("203.0.113.255", True),
        ("203.0.114.0", False),
        ("198.51.100.7", True),
        ("198.51.100.8", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("::ffff:203.0.113.4", True),
        ("192.0.2.9", True),
        ("::ffff:192.0.2.9", True),
        ("192.0.3.9", False),
        (UNIX, False),
        ("", False),
        ("gateway.example", False),
    ],
)
def test_networks_of_both_families_hold_mapped_addresses_too(address: str, inside: bool) -> None:
    networks = Networks(["203.0.113.0/24", "198.51.100.7", "2001:db8::/32", "::ffff:192.0.2.0/120"])
    assert networks.hold(address) is inside
    assert networks.hold(address) is inside, "the second time, too"


@pytest.mark.parametrize("text", ["", "svix", UNIX, "10.0.0.0/33", "10.0.0", "1.2.3.4:80", "[::1]", "10.0.0.0/255.0.0.0/8"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_network(text)


@given(st.text(max_size=60))
@example("[::1]:1")
@example("1.2.3.4:5")
@example("::ffff:1.2.3.4%1")
def test_whatever_a_stranger_writes_is_an_address_or_nothing(text: str) -> None:
    found = plain(text)
    assert found is None or str(ipaddress.ip_address(found)) == found
    assert client("127.0.0.1", [text], Networks(["127.0.0.1"])) in ("127.0.0.1", *(plain(part) for part in text.split(",")))


@given(st.ip_addresses(), st.lists(st.ip_addresses(v=4), max_size=5))
def test_a_forged_beginning_of_the_header_changes_nothing(seen: object, forged: list[object]) -> None:
    trusted = Networks(["127.0.0.1"])
    honest = client("127.0.0.1", [str(seen)], trusted)
    if not trusted.hold(str(seen)):
        assert client("127.0.0.1", [*map(str, forged), str(seen)], trusted) == honest
