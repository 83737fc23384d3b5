"""The validity of a certificate, read without a handshake and compared with another library."""

from __future__ import annotations

import ssl
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.core.secrets import Secret
from gateway.host.certificates import PairError, Validity, day, leaf, load_pair, validity

DAY = 86400.0


@pytest.mark.parametrize("key_type", list(trustme.KeyType))
@pytest.mark.parametrize("year", [2030, 2049, 2050, 2400])  # RFC 5280 writes years from 2050 on in another way
def test_the_validity_is_that_of_the_first_certificate_of_a_text(year: int, key_type: trustme.KeyType) -> None:
    begins, ends = datetime(1999, 12, 31, 23, 59, 58, tzinfo=UTC), datetime(year, 2, 28, 1, 2, 3, tzinfo=UTC)
    authority = trustme.CA().create_child_ca()
    issued = authority.issue_cert("gateway.test", not_before=begins, not_after=ends, key_type=key_type)
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    found = validity(Secret(f"Some notes, as authorities write them\n\n{chain.decode()}"))
    assert (found.begins, found.ends) == (begins.timestamp(), ends.timestamp())
    parsed = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
    assert (parsed.not_valid_before_utc, parsed.not_valid_after_utc) == (begins, ends)
    assert leaf(Secret(chain.decode())) == ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing like it: 5b1e7c",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nMIIB/////w==\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n" + "//" * 700 + "\n-----END CERTIFICATE-----\n",
    ],
)
def test_a_text_that_is_not_a_certificate_raises_only_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        validity(Secret(text))


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (10 * DAY - 1, "is not valid before 1970-01-11"),
        (10 * DAY, None),
        (79 * DAY, None),
        (79 * DAY + 1, "expires on 1970-04-11, in 20 day(s)"),
        (99.5 * DAY, "expires on 1970-04-11, in 0 day(s)"),
        (100 * DAY, "expired on 1970-04-11"),
    ],
)
def test_the_message_about_a_certificate_depends_on_the_day(now: float, said: str | None) -> None:
    trouble = Validity(10 * DAY, 100 * DAY).trouble(now)
    assert trouble is None if said is None else (trouble or "").startswith(said)
    assert day(100 * DAY) == "1970-04-11"


def test_a_damaged_date_is_reported_without_bytes_of_the_certificate() -> None:
    der = leaf(Secret(trustme.CA().cert_pem.bytes().decode()))
    at = der.index(b"\x17\r") + 2
    damaged = ssl.DER_cert_to_PEM_cert(der[:at] + b"991332" + der[at + 6 :])
    with pytest.raises(ValueError, match=r"^is damaged$"):
        validity(Secret(damaged))


def pem(issued: trustme.LeafCert) -> tuple[str, str]:
    return issued.cert_chain_pems[0].bytes().decode(), issued.private_key_pem.bytes().decode()


def test_an_unusable_pair_names_the_wrong_part_and_shows_nothing_of_the_key() -> None:
    authority = trustme.CA()
    certificate, key = pem(authority.issue_cert("gateway.test", key_type=trustme.KeyType.ECDSA))
    _, other = pem(authority.issue_cert("gateway.test", key_type=trustme.KeyType.ECDSA))
    _, rsa = pem(authority.issue_cert("gateway.test", key_type=trustme.KeyType.RSA))
    lines = key.splitlines(keepends=True)
    for shown, hidden, part in (
        (certificate, other, "key"),
        (certificate, rsa, "key"),
        (certificate, "".join([lines[0], *lines[2:]]), "key"),
        (certificate, "nothing", "key"),
        (certificate, certificate, "key"),
        (key, key, "certificate"),
        (certificate[:300] + certificate[340:], key, "certificate"),
        (f"{certificate}{certificate[:300]}{certificate[340:]}", key, "certificate"),
        ("", key, "certificate"),
    ):
        with pytest.raises(PairError) as error:
            load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), Secret(shown), Secret(hidden))
        assert error.value.part == part
        assert not any(line.strip() in str(error.value) for line in (*hidden.splitlines(), *shown.splitlines()) if line.strip())
    load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), Secret(certificate + other), Secret(key))


def flight(context: ssl.SSLContext) -> bytes:
    """The first bytes that a server sends. In TLS 1.2 they contain its certificates."""
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    asked, said = ssl.MemoryBIO(), ssl.MemoryBIO()
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for side in (
        stranger.wrap_bio(ssl.MemoryBIO(), asked, server_hostname="gateway.test"),
        context.wrap_bio(asked, said, server_side=True),
    ):
        with pytest.raises(ssl.SSLWantReadError):
            side.do_handshake()
    return said.read()


WRITTEN: dict[str, Callable[[str, str, str], tuple[str, str]]] = {
    "one file with both": lambda shown, key, _: (shown + key, shown + key),
    "the key first": lambda shown, key, _: (key + shown, key + shown),
    "an older certificate beside the key": lambda shown, key, older: (shown, older + key),
    "line ends of Windows": lambda shown, key, _: (shown.replace("\n", "\r\n"), key.replace("\n", "\r\n")),
    "a byte order mark": lambda shown, key, _: (f"\ufeff{shown}", f"\ufeff{key}"),
    "indented": lambda shown, key, _: (textwrap.indent(shown, "  "), textwrap.indent(key, "  ")),
    "text around them": lambda shown, key, _: (f"subject=O = 株式会社\n{shown}bye", f"Key Attributes: <No Attributes>\n{key}bye"),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_every_way_to_write_a_pair_sends_each_of_its_certificates_once(how: str) -> None:
    issued = trustme.CA().create_child_ca().issue_cert("gateway.test")
    key = issued.private_key_pem.bytes().decode()
    chain = [one.bytes().decode() for one in issued.cert_chain_pems]
    name = x509.Name([])
    day_one, private = datetime(2020, 1, 1, tzinfo=UTC), serialization.load_pem_private_key(key.encode(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    builder = x509.CertificateBuilder(name, name, private.public_key(), 7, day_one, day_one + timedelta(days=90))
    older = builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    shown, hidden = (Secret(text) for text in WRITTEN[how]("".join(chain), key, older))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_pair(context, shown, hidden)
    said = flight(context)
    assert [said.count(ssl.PEM_cert_to_DER_cert(one)) for one in (*chain, older)] == [1, 1, 0]
    assert leaf(shown) == ssl.PEM_cert_to_DER_cert(chain[0])


def test_a_truncated_key_is_reported_even_if_the_certificate_text_is_not_ascii() -> None:
    certificate, key = pem(trustme.CA().issue_cert("gateway.test"))
    lines = key.splitlines(keepends=True)
    with pytest.raises(PairError, match=r"^key: is damaged"):
        load_pair(
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
            Secret(f"subject=O = 株式会社\n{certificate}"),
            Secret("".join([lines[0], *lines[2:]])),
        )
