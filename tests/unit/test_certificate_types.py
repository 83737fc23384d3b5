"""A certificate and a key that cannot be used together: each mistake has its own message, which shows nothing of a key."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from gateway.core.secrets import Secret
from gateway.host.certificates import PairError, load_pair, order_trouble

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
KINDS: dict[str, Callable[[], Key]] = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}
PKCS8, OLD, OPENSSH = (
    serialization.PrivateFormat.PKCS8,
    serialization.PrivateFormat.TraditionalOpenSSL,
    serialization.PrivateFormat.OpenSSH,
)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def certificate(key: Key, subject: str, issuer: str, signed_by: Key) -> str:
    begins = datetime(2020, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name(issuer), name(subject), key.public_key(), 7, begins, begins + timedelta(days=9000))
    algorithm = None if isinstance(signed_by, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(signed_by, algorithm).public_bytes(serialization.Encoding.PEM).decode()


def written(key: Key, form: serialization.PrivateFormat = PKCS8, password: bytes | None = None) -> str:
    locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, locked).decode()


KEYS = {kind: make() for kind, make in KINDS.items()}
OTHERS = {kind: make() for kind, make in KINDS.items()}
CERTIFICATES = {kind: certificate(key, kind, kind, key) for kind, key in KEYS.items()}
EC, RSA = KEYS["ec"], KEYS["rsa"]
ISSUER = certificate(RSA, "issuer", "root", RSA)
LEAF = certificate(EC, "leaf", "issuer", RSA)
ROOT = certificate(RSA, "root", "root", RSA)
REQUEST = (
    x509.CertificateSigningRequestBuilder(name("leaf"))
    .sign(EC, hashes.SHA256())
    .public_bytes(serialization.Encoding.PEM)
    .decode()
    if isinstance(EC, ec.EllipticCurvePrivateKey)
    else ""
)
PUBLIC = EC.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
NOT_ITS_OWN = "key: does not belong to the certificate, which is the first one in its file"


def refused(shown: str, hidden: str) -> str:
    with pytest.raises(PairError) as caught:
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), Secret(shown), Secret(hidden))
    said = str(caught.value)
    assert not [line for line in f"{shown}\n{hidden}".splitlines() if len(line) > 5 and line in said and "BEGIN" not in line]
    return said


@pytest.mark.parametrize("shown", KINDS)
@pytest.mark.parametrize("hidden", KINDS)
def test_a_key_of_another_type_does_not_belong_to_the_certificate(shown: str, hidden: str) -> None:
    if shown == hidden:
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), Secret(CERTIFICATES[shown]), Secret(written(KEYS[hidden])))
    else:
        assert refused(CERTIFICATES[shown], written(KEYS[hidden])) == NOT_ITS_OWN
    assert refused(CERTIFICATES[shown], written(OTHERS[hidden])) == NOT_ITS_OWN


MISTAKES = [
    (written(EC), LEAF, "certificate: holds no certificate in PEM: it holds a private key, as if the two were swapped"),
    (written(EC), written(EC), "certificate: holds no certificate in PEM: it holds a private key"),
    (LEAF, LEAF, "key: holds no private key in PEM: it holds a certificate"),
    (
        REQUEST,
        written(EC),
        "certificate: holds no certificate in PEM: it holds a certificate request, which a certificate authority",
    ),
    (PUBLIC, written(EC), "certificate: holds no certificate in PEM: it holds a public key"),
    (LEAF, PUBLIC, "key: holds no private key in PEM: it holds a public key"),
    (LEAF, written(EC, OPENSSH), "key: holds no private key in PEM: it holds a key of OpenSSH"),
    (LEAF, written(EC, password=b"x"), "key: is encrypted"),
    (LEAF, written(EC, OLD, b"x"), "key: is encrypted"),
    (
        LEAF[:200],
        written(EC),
        "certificate: holds no certificate in PEM: it holds the beginning of a certificate, but not its",
    ),
    (LEAF, written(EC)[:99], "key: holds no private key in PEM: it holds the beginning of a private key, but not its end"),
    (
        LEAF.replace("\n", "\\n"),
        written(EC),
        "certificate: holds no certificate in PEM: its line breaks are written as",
    ),
    (
        ISSUER + LEAF,
        written(EC),
        "certificate: does not begin with the certificate of the key, which is number 2: put that one first",
    ),
    (ROOT + ISSUER + LEAF, written(EC), "certificate: does not begin with the certificate of the key, which is number 3: put"),
    (LEAF, written(RSA) + written(EC), f"{NOT_ITS_OWN}; key 2 does: remove the others"),
    (LEAF, written(OTHERS["ec"]) + written(EC), f"{NOT_ITS_OWN}; key 2 does: remove the others"),
    (LEAF, written(RSA) + written(EC, password=b"x"), NOT_ITS_OWN),
    ("", "", "certificate: holds no certificate in PEM"),
]


@pytest.mark.parametrize(
    ("shown", "hidden", "said"),
    MISTAKES,
    ids=[str(number) for number in range(len(MISTAKES))],  # the texts are others in each process
)
def test_each_mistake_gets_its_own_message(shown: str, hidden: str, said: str) -> None:
    assert refused(shown, hidden).startswith(said)


@pytest.mark.parametrize("form", [PKCS8, OLD])
def test_the_first_of_several_keys_is_used_if_it_fits(form: serialization.PrivateFormat) -> None:
    load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), Secret(LEAF), Secret(written(EC, form) + written(RSA)))


@pytest.mark.parametrize(
    ("chain", "number"),
    [
        ([LEAF], None),
        ([LEAF, ISSUER], None),
        ([LEAF, ISSUER, ROOT], None),
        ([LEAF, ROOT, ISSUER], 2),
        ([LEAF, ISSUER, LEAF], 3),
        ([LEAF, CERTIFICATES["ed25519"]], 2),
        ([LEAF, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"], None),
    ],
)
def test_a_certificate_that_did_not_issue_the_one_before_it_is_found(chain: list[str], number: int | None) -> None:
    said = order_trouble(Secret("".join(chain)))
    assert said is None if number is None else f"certificate {number} " in (said or "")
