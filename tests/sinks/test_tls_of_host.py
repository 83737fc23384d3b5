"""The authorities of this host are read once for all sinks, and again once their file changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from gateway.sinks.net.trust import of_host


def test_all_sinks_share_one_context_until_the_authorities_of_the_host_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "authorities.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    trustme.CA(organization_name="one").cert_pem.write_to_path(file)
    first = of_host()
    assert of_host() is first and len(first.get_ca_certs()) == 1
    other = trustme.CA(organization_name="two").cert_pem.bytes()
    (tmp_path / "new.pem").write_bytes(file.read_bytes() + other)
    (tmp_path / "new.pem").replace(file)
    assert of_host() is not first and len(of_host().get_ca_certs()) == 2
    assert len(first.get_ca_certs()) == 1, "connections that are open keep theirs"
