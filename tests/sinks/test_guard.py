"""The addresses that a sink may dial, as a table. Each kind of sink asks before it dials."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import SinkSetupError
from gateway.core.outcome import Delivered, Reason, Retry
from gateway.sinks import open_sink
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.http.config import HttpConfig
from gateway.sinks.net.address_guard import AddressGuard, parse_network
from gateway.sinks.slack.config import SlackConfig
from tests.sinks.http_server import HttpServer
from tests.sinks.mail_server import ScriptedSmtp
from tests.sinks.sending import LONG, opened, opening, ref, send

ALLOWED = [
    "127.0.0.1",
    "127.8.8.8",
    "::1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "fd12:3456:789a::1",
    "8.8.8.8",
    "2606:4700:4700::1111",
    "::ffff:10.0.0.1",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
    "169.253.255.255",
    "169.255.0.0",
    "100.100.100.199",
    "168.63.129.15",
    "fd00:ec2::253",
    "223.255.255.255",
    "fec0::1",
    "fd00:ec2::22",
    "fd00:42::41",
    "::8.8.8.8",
    "::ffff:0:10.0.0.1",
    "64:ff9b:1::10.0.0.1",
    "64:ff9b:1:a00:0:100::",
    "64:ff9b:1:fffe::8.8.8.8",
    "64:ff9b:2::169.254.169.254",
    "2001:db8::a9fe:a9fe",
]
BLOCKED = [
    "169.254.169.254",
    "169.254.0.1",
    "169.254.170.2",
    "169.254.255.255",
    "fe80::1",
    "fe80::1%lo",
    "febf:ffff::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "224.0.0.1",
    "239.255.255.255",
    "ff02::1",
    "ff05::2",
    "0.0.0.0",
    "::",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "::ffff:0.0.0.0",
    "::ffff:224.0.0.1",
    "::ffff:168.63.129.16",
    "::ffff:100.100.100.200",
    "64:ff9b::169.254.169.254",
    "64:ff9b::a83f:8110",
    "64:ff9b::",
    "2002:a9fe:a9fe::1",
    "2002:a9fe:a9fe::",
    "2002:6464:64c8::1",
    "2002:e000:1::",
    "fd00:ec2::23",
    "fd00:42::42",
    "::169.254.169.254",
    "::169.254.0.1",
    "::100.100.100.200",
    "::ffff:0:169.254.169.254",
    "64:ff9b:1::169.254.169.254",
    "64:ff9b:1:fffe::169.254.170.23",
    "64:ff9b:1::168.63.129.16",
    "64:ff9b:1:a9fe:a9:fe00::",
    "64:ff9b:1:aaa9:fe:a9fe::",
    "64:ff9b:1:aabb:a9:fea9:fe00::",
]
NOT_LOOPBACK = ["10.0.0.0/8", "fd00::/8"]
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6), st.sampled_from([*ALLOWED, *BLOCKED])).map(str)
networks = st.one_of(
    st.builds(lambda ip, bits: ipaddress.ip_network((ip, bits), strict=False), st.ip_addresses(v=4), st.integers(0, 32)),
    st.builds(lambda ip, bits: ipaddress.ip_network((ip, bits), strict=False), st.ip_addresses(v=6), st.integers(0, 128)),
    st.sampled_from([ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"), ipaddress.ip_network("169.254.0.0/16")]),
)


@pytest.mark.parametrize("address", ALLOWED)
def test_an_internal_or_public_address_may_be_dialled_by_default(address: str) -> None:
    assert AddressGuard().allows(address)


@pytest.mark.parametrize("address", BLOCKED)
def test_a_link_local_metadata_multicast_or_unspecified_address_may_not_be_dialled(address: str) -> None:
    assert not AddressGuard().allows(address)


@pytest.mark.parametrize("address", BLOCKED)
def test_a_list_of_networks_that_names_a_blocked_address_does_not_open_it(address: str) -> None:
    everything = [parse_network("0.0.0.0/0"), parse_network("::/0")]
    exactly = parse_network(address.split("%")[0])
    assert not AddressGuard(everything).allows(address)
    assert not AddressGuard([exactly]).allows(address)


@given(addresses, st.lists(networks, max_size=4))
def test_a_list_of_networks_narrows_and_never_widens(
    address: str, allowed: list[ipaddress.IPv4Network | ipaddress.IPv6Network]
) -> None:
    assert not AddressGuard(allowed).allows(address) or AddressGuard().allows(address)


def test_a_list_of_networks_shuts_out_every_address_beside_it() -> None:
    guard = AddressGuard([parse_network("10.0.0.0/8"), parse_network("fd12::/16")])
    assert guard.allows("10.255.0.1")
    assert guard.allows("fd12::5")
    assert guard.allows("::ffff:10.1.2.3")
    assert not guard.allows("11.0.0.1")
    assert not guard.allows("127.0.0.1")
    assert not guard.allows("::1")
    assert not guard.allows("::ffff:127.0.0.1")
    assert not guard.allows("64:ff9b::127.0.0.1")
    assert not guard.allows("64:ff9b:1::127.0.0.1")
    assert not guard.allows("::127.0.0.1")


def test_an_empty_list_of_networks_allows_nothing() -> None:
    assert not AddressGuard([]).allows("10.0.0.1")
    assert not AddressGuard([]).allows("::1")


@pytest.mark.parametrize("text", ["10.0.0.1/8", "ten", "10.0.0.0/33", "example.com", ""])
def test_a_text_that_is_not_a_network_is_refused_when_the_sink_is_opened(text: str, tmp_path: Path) -> None:
    with pytest.raises(SinkSetupError, match=r"\[sinks\.erp\]"):
        open_sink(HttpConfig(url="http://127.0.0.1/", allow_networks=[text]), opening(tmp_path))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_an_http_sink_dials_nothing_outside_its_networks(host: str, tmp_path: Path) -> None:
    async with HttpServer() as server:
        config = HttpConfig(url=f"http://{host}:{server.port}/", allow_networks=NOT_LOOPBACK, timeout=LONG)
        async with opened(config, tmp_path) as sink:
            outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.BLOCKED
    assert "allow_networks" in outcome.detail
    assert server.connections == 0


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0177.0.0.1", "0x7f000001"])
async def test_an_address_inside_an_ipv6_form_is_not_dialled_either(host: str, tmp_path: Path) -> None:
    """The parser of URLs refuses such a host before the guard sees it. In either case nothing is dialled."""
    async with HttpServer() as server:
        config = HttpConfig(url=f"http://{host}:{server.port}/", allow_networks=NOT_LOOPBACK, timeout=LONG)
        async with opened(config, tmp_path) as sink:
            assert isinstance(await send(sink), Retry)
    assert server.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_slack_sink_dials_nothing_outside_its_networks(host: str, tmp_path: Path) -> None:
    async with HttpServer() as server:
        config = SlackConfig(webhook_url=ref("HOOK"), allow_networks=NOT_LOOPBACK)
        async with opened(config, tmp_path, HOOK=f"http://{host}:{server.port}/") as sink:
            outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.BLOCKED
    assert server.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::ffff:127.0.0.1", "2130706433"])
async def test_an_email_sink_dials_nothing_outside_its_networks(host: str, tmp_path: Path) -> None:
    async with ScriptedSmtp() as server:
        config = EmailConfig(
            host=host,
            port=server.port,
            security="none",
            sender="g@example.com",
            recipients=["a@example.com"],
            allow_networks=NOT_LOOPBACK,
        )
        async with opened(config, tmp_path) as sink:
            outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.BLOCKED
    assert server.connections == 0


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "[::169.254.169.254]", "0.0.0.0", "[::]", "224.0.0.1"],
)
async def test_a_url_of_a_blocked_address_is_blocked_without_any_list(host: str, tmp_path: Path) -> None:
    async with opened(HttpConfig(url=f"http://{host}/latest/meta-data"), tmp_path) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.BLOCKED


@pytest.mark.parametrize("host", ["169.254.169.254", "::ffff:169.254.169.254", "0.0.0.0", "::"])
async def test_a_mail_host_of_a_blocked_address_is_blocked_without_any_list(host: str, tmp_path: Path) -> None:
    config = EmailConfig(host=host, security="none", sender="g@example.com", recipients=["a@example.com"])
    async with opened(config, tmp_path) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.BLOCKED


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_host_inside_the_networks_is_dialled(host: str, tmp_path: Path) -> None:
    async with HttpServer() as server:
        config = HttpConfig(url=f"http://{host}:{server.port}/", allow_networks=["127.0.0.0/8"])
        async with opened(config, tmp_path) as sink:
            assert isinstance(await send(sink), Delivered)
    assert server.connections == 1
