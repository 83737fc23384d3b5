"""The address of a client: the peer's own, or the one that a trusted proxy wrote into the header."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.networks import UNIX, Networks, client, network_of, parse_network, plain

TRUSTED = ["127.0.0.1", "10.0.0.0/8", "2001:db8:1::/48", UNIX]


@pytest.mark.parametrize(
    ("peer", "lines", "found"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # a stranger's word
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", [""], ""),
        ("127.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),  # the entry that the client itself sent comes before it
        ("127.0.0.1", ["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["203.0.113.9, 10.0.0.7", "10.0.0.8"], "203.0.113.9"),
        ("127.0.0.1", ["198.51.100.1,203.0.113.9,10.0.0.7"], "203.0.113.9"),
        ("127.0.0.1", ["10.0.0.9, 10.0.0.7"], "10.0.0.9"),  # a client inside
        ("127.0.0.1", ["203.0.113.9, garbage"], ""),  # an unreadable entry makes the client unknown, and never the proxy
        ("127.0.0.1", ["203.0.113.9, unknown, 10.0.0.7"], ""),
        ("127.0.0.1", ["203.0.113.9, , 10.0.0.7"], ""),
        ("127.0.0.1", ["203.0.113.9,"], ""),
        ("127.0.0.1", ["203.0.113.9", ""], ""),
        ("127.0.0.1", ["unknown"], ""),
        ("127.0.0.1", ["_hidden"], ""),
        ("127.0.0.1", ["unknown, 203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["unix"], ""),
        ("127.0.0.1", ["unix:"], ""),
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
        ("127.0.0.1", ["203.0.113.9:"], ""),
        ("127.0.0.1", ["203.0.113.9:65535"], "203.0.113.9"),
        ("127.0.0.1", ["203.0.113.9:65536"], ""),
        ("127.0.0.1", ["203.0.113.9:99999999"], ""),
        ("127.0.0.1", ["[203.0.113.9]:80"], ""),
        ("127.0.0.1", ["203.0.113.9%eth0"], ""),
        ("127.0.0.1", ["fe80::1%"], ""),
        ("127.0.0.1", ["203.0.113.009"], ""),
        ("127.0.0.1", ["0203.0.113.9"], ""),
        ("127.0.0.1", ["203.0.113"], ""),
        ("127.0.0.1", ["3405803785"], ""),
        ("127.0.0.1", ["0xcb.0.113.9"], ""),
        ("127.0.0.1", ["::ffff:10.0.0.7, 203.0.113.9, ::ffff:10.0.0.8"], "203.0.113.9"),
        ("127.0.0.1", ['"203.0.113.9"'], ""),
        ("127.0.0.1", ["for=203.0.113.9"], ""),
        ("127.0.0.1", ["203.0.113.9\xa0"], ""),
        ("127.0.0.1", ["1:" * 200], ""),
        ("127.0.0.1", ["\udcff"], ""),
        ("127.0.0.1", ["203.0.113.9/32"], ""),
        ("127.0.0.1", ["٢٠٣.0.113.9"], ""),
    ],
)
def test_the_header_is_read_from_its_end_past_trusted_addresses(peer: str, lines: list[str], found: str) -> None:
    assert client(peer, lines, Networks(TRUSTED)) == found


def test_no_address_is_trusted_by_default() -> None:
    for peer in ("127.0.0.1", "::1", "10.0.0.1", UNIX):
        assert client(peer, ["203.0.113.9"], Networks()) == peer


def test_only_the_last_32_entries_of_a_list_are_read() -> None:
    trusted = Networks(TRUSTED)
    assert client("127.0.0.1", ["203.0.113.9", ",".join(["10.0.0.1"] * 31)], trusted) == "203.0.113.9"
    assert client("127.0.0.1", ["203.0.113.9", ",".join(["10.0.0.1"] * 32)], trusted) == "", "the one behind them is not known"
    assert client("127.0.0.1", [",".join(["10.0.0.1"] * 32)], trusted) == "10.0.0.1"
    assert client("127.0.0.1", [",".join(["10.0.0.1"] * 33)], trusted) == ""


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
def test_a_text_that_is_not_a_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_network(text)


@given(st.text(max_size=60))
@example("[::1]:1")
@example("1.2.3.4:5")
@example("::ffff:1.2.3.4%1")
def test_any_header_yields_an_address_or_an_unknown_client(text: str) -> None:
    found = plain(text)
    assert found is None or str(ipaddress.ip_address(found)) == found
    assert client("127.0.0.1", [text], Networks(["127.0.0.1"])) in ("", *(plain(part) for part in text.split(",")))


_GOOD = st.one_of(
    st.ip_addresses().map(str),
    st.ip_addresses(v=4).map(lambda ip: f"{ip}:443"),
    st.ip_addresses(v=6).map(lambda ip: f"[{ip}]:443"),
    st.ip_addresses(v=4).map(lambda ip: f"::ffff:{ip}"),
    st.integers(0, 255).map(lambda last: f"10.0.0.{last}"),
    st.just("127.0.0.1"),
)
_BAD = st.one_of(
    st.sampled_from(["", "unknown", "_obf", "-", "unix", "10.0.0.256", "10.0.0.07", "10.0.0.1/8", "localhost", "[::1", "::1]"]),
    st.text("0123456789abcdef.:[]%_ ", max_size=20).filter(lambda text: _naive(text) is None),
)


def _naive(entry: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Parse one entry by hand: an address, with optional brackets and port."""
    entry = entry.strip(" \t")
    if entry.startswith("["):
        inside, bracket, rest = entry[1:].partition("]")
        if not bracket or ":" not in inside or not (rest == "" or (rest[0] == ":" and _is_port(rest[1:]))):
            return None
        entry = inside
    elif entry.count(":") == 1:
        entry, _, port = entry.partition(":")
        if not _is_port(port):
            return None
    try:
        ip = ipaddress.ip_address(entry)
    except ValueError:
        return None
    return (ip.ipv4_mapped or ipaddress.ip_address(str(ip).partition("%")[0])) if ip.version == 6 else ip


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65535


@given(st.lists(st.lists(_GOOD | _BAD, min_size=1, max_size=4), min_size=1, max_size=4), st.sampled_from([", ", ",", " , "]))
def test_it_agrees_with_a_naive_walk_over_good_and_bad_entries(lines: list[list[str]], comma: str) -> None:
    """The expected client is the first untrusted entry from the right, or unknown if an entry before it cannot be read."""
    trusted = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("127.0.0.1")]
    expected = ""
    for entry in reversed([entry for line in lines for entry in line]):
        address = _naive(entry)
        expected = "" if address is None else str(address)
        if address is None or not any(address in network for network in trusted):
            break
    assert client("127.0.0.1", [comma.join(line) for line in lines], Networks(["10.0.0.0/8", "127.0.0.1"])) == expected


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        (UNIX, None),
        ("", None),
    ],
)
def test_one_peer_is_an_address_of_ipv4_and_a_network_of_ipv6(address: str, network: str | None) -> None:
    assert network_of(address) == network


@given(st.ip_addresses(), st.lists(st.ip_addresses(v=4), max_size=5))
def test_a_forged_beginning_of_the_header_changes_nothing(seen: object, forged: list[object]) -> None:
    trusted = Networks(["127.0.0.1"])
    honest = client("127.0.0.1", [str(seen)], trusted)
    if not trusted.hold(str(seen)):
        assert client("127.0.0.1", [*map(str, forged), str(seen)], trusted) == honest
