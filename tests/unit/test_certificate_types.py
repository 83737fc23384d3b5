"""A certificate and a key of different types (RSA to EC at a renewal) do not belong together, and neither is damaged."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from gateway.certificates import PairError, load_pair
from gateway.core.values import Secret

KINDS = {
    "rsa": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "ec": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "ed25519": ["-algorithm", "ED25519"],
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Secret, Secret]]:
    """A certificate and its key of each type."""
    folder, made = tmp_path_factory.mktemp("types"), {}
    for kind, options in KINDS.items():
        key, certificate = folder / f"{kind}.key", folder / f"{kind}.pem"
        _openssl("genpkey", *options, "-out", str(key))
        _openssl("req", "-x509", "-key", str(key), "-out", str(certificate), "-days", "9", "-subj", "/CN=x")
        made[kind] = (_text(certificate), _text(key))
    return made


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def _text(path: Path) -> Secret:
    return Secret(path.read_text(encoding="ascii"))


@pytest.mark.parametrize("certificate", KINDS)
@pytest.mark.parametrize("key", KINDS)
def test_a_key_of_another_type_does_not_belong_to_the_certificate(
    certificate: str, key: str, pairs: dict[str, tuple[Secret, Secret]]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate == key:
        load_pair(context, pairs[certificate][0], pairs[key][1])
        return
    with pytest.raises(PairError) as caught:
        load_pair(context, pairs[certificate][0], pairs[key][1])
    assert str(caught.value) == "key: does not belong to the certificate, the first one in its file"
