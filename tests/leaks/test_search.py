"""The search has to find what it is there for: leaks are planted here, in processes and records of their own."""

from __future__ import annotations

import base64
import html
import json
import marshal
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from tests.leaks.plugin import LEAKED, RECORDS
from tests.leaks.search import Poor, forms, search
from tests.support.webhooks import SECRET

ROOT = Path(__file__).parents[2]
TOKEN = "token/4Hm7+planted & found"
NAME = "the secret of env TOKEN (toke...)"
START = """
import asyncio, os, sys
from pathlib import Path
from gateway.core.secrets import SecretRef
from gateway.host.environment import Environment
token = Environment(os.environ).secret(SecretRef(env="TOKEN"), Path()).reveal()
"""
KEY = SECRET.removeprefix("whsec_")


def planted(tmp_path: Path, code: str, *arguments: str, token: str = TOKEN) -> list[str]:
    """Run this code in a process and a folder of its own, and return what the search finds."""
    records, folder = tmp_path / "records", tmp_path / "folder"
    records.mkdir(exist_ok=True)
    folder.mkdir(exist_ok=True)
    opened_by_a_test(records, folder / "input")
    environment = {**os.environ, "TOKEN": token, RECORDS: str(records), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", START + code, *arguments]
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=60, capture_output=True)
    return [
        f"{leak.where.replace(str(folder), '.').partition(' of process')[0]}: {leak.secret}" for leak in search(records, folder)
    ]


def opened_by_a_test(records: Path, file: Path) -> None:
    """Leave a file, and the record of a test that wrote it."""
    file.touch()
    (records / "0.records").write_bytes(marshal.dumps(("input", "a test", str(file), b"")))


WRITTEN = {
    "print(token)": "stdout",
    "print(token[:9], end='', flush=True); print(token[9:])": "stdout",
    "sys.stdout.buffer.write(token.encode())": "stdout",
    "print('Bearer ' + token, file=sys.stderr)": "stderr",
    "from gateway.host.line_writer import LineWriter; from gateway.observability.logs import set_up_logging\n"
    "set_up_logging(LineWriter(sys.stderr), None).info('sent', headers={'x-key': token})": "stderr",
    "from gateway.cli.streams import secure; secure(); print(token, file=sys.stderr)": "stderr",
    "import warnings; warnings.warn(token)": "stderr",
    "from gateway.observability.metrics import Metrics; Metrics().rejection('legitmark', token)": "metrics at the end",
    "from gateway.core.errors import StoreError; StoreError(f'refused {token}')": "an error",
    "from gateway.web.responses import json_response; json_response(400, {'error': token})": "an answer",
    "from gateway.host.append_file import AppendFile; AppendFile(Path('a.jsonl')).append(token.encode())": "./a.jsonl, line 1",
    "Path('some').write_text('\\n\\n' + token); Path('some').rename('other')": "./other, line 3",
    "Path('../records/../elsewhere').write_text(token)": "/elsewhere, line 1",
    "Path('some').write_text(token); Path('some').rename('input')": "./input, line 1",
    "Path('some').write_text(token); Path('input').unlink(); os.link('some', 'input'); os.unlink('some')": "./input, line 1",
    "import sqlite3; db = sqlite3.connect('file:input?mode=rwc', uri=True)\n"
    "db.execute('CREATE TABLE t AS SELECT ? AS a', (token,)); db.commit()": "./input, line",
    "from gateway.host.systemd import Systemd; Systemd(Environment({}), None).ready(token)": "what systemd is told",
    "import sqlite3; db = sqlite3.connect('a.db'); db.execute('CREATE TABLE t AS SELECT ? AS a', (token,)); db.commit()\n"
    "db.execute(\"VACUUM INTO 'backup.db'\")": "./backup.db, line",
}


@pytest.mark.parametrize(("code", "where"), WRITTEN.items(), ids=WRITTEN.values())
def test_a_leak_is_found_wherever_it_is_written(code: str, where: str, tmp_path: Path) -> None:
    found = planted(tmp_path, code)
    assert any(where in said and said.endswith(NAME) for said in found), found


def test_a_leak_of_the_command_line_is_found(tmp_path: Path) -> None:
    (said,) = planted(tmp_path, "", f"--token={TOKEN}")
    assert said == f"command line: {NAME}"


def test_the_file_that_a_secret_is_read_from_is_no_leak(tmp_path: Path) -> None:
    code = "Path('secret').write_text(token); Environment({}).secret(SecretRef(file='secret'), Path.cwd())"
    assert planted(tmp_path, code) == []


ALL = [
    lambda text: text,
    lambda text: f"Authorization: Bearer {text}",
    lambda text: json.dumps({"token": text}),
    lambda text: quote(text, safe=""),
    lambda text: html.escape(text),
    lambda text: repr(text),
    lambda text: f"cut: {text[:18]}",
    lambda text: f"...{text[-18:]}",
    lambda text: base64.b64encode(f"\0gateway\0{text}".encode()).decode(),
    lambda text: base64.b64encode(f"a:{text}".encode()).decode(),
    lambda text: base64.b64encode(f"ab:{text}".encode()).decode(),
    lambda text: base64.b64encode(f"abc:{text}".encode()).decode(),
]


def test_what_python_compiles_from_a_source_file_is_not_searched(tmp_path: Path) -> None:
    """The tests' own secrets are constants in it."""
    assert planted(tmp_path, "Path('__pycache__').mkdir(); Path('__pycache__/a.cpython-311.pyc').write_text(token)") == []


@pytest.mark.parametrize("secret", [TOKEN, SECRET, f"v1,{SECRET}", 'quo"te\\d 表示 secret'])
@pytest.mark.parametrize("written", ALL)
def test_a_secret_is_known_in_all_its_forms(secret: str, written: Callable[[str], str]) -> None:
    inner = secret.removeprefix("v1,").removeprefix("whsec_")
    text = f"before {written(inner)} after".encode()
    assert any(form in text for form in forms(secret))


def test_the_bytes_of_a_signing_key_give_it_away_too() -> None:
    raw = base64.b64decode(KEY)
    for text in (raw, b"xx" + raw[:16], raw.hex().encode()):
        assert any(form in text for form in forms(SECRET))


def test_of_a_url_the_host_is_no_secret_and_of_a_certificate_nothing_is() -> None:
    found = forms("https://hooks.example.com/services/T0/B0/hook-5Wd3")
    assert not any(form in b"https://hooks.example.com/ has no address" for form in found)
    assert any(form in b"POST /services/T0/B0/hook-5Wd3" for form in found)
    assert forms("-----BEGIN CERTIFICATE-----\nMIIC\nabcd\n-----END CERTIFICATE-----\n") == set()


MAKE: dict[str, Callable[[], PrivateKeyTypes]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("kind", MAKE)
def test_of_a_private_key_a_piece_is_enough_that_no_other_key_and_no_certificate_has(
    kind: str, form: serialization.PrivateFormat, line_end: str
) -> None:
    if kind == "ed25519" and form is serialization.PrivateFormat.TraditionalOpenSSL:
        form = serialization.PrivateFormat.PKCS8  # it has no other
    keys = [MAKE[kind]() for _ in range(2)]
    key, other = (one.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode() for one in keys)
    public = keys[0].public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    certificate = "-----BEGIN CERTIFICATE-----\nMIIBozCCAUmgAwIBAgIQUfKZ3xOoT12u2MWJ\nabcd\n-----END CERTIFICATE-----\n"
    found = forms((key + certificate).replace("\n", line_end))
    harmless = [other, certificate, *(base64.b64encode(bytes(at) + public).decode() for at in range(3))]
    assert any(form in key.encode() for form in found)
    assert not any(form in text.encode() for form in found for text in harmless)


def test_of_a_url_the_password_is_a_secret_too() -> None:
    found = forms("https://user:pass-8Xc4-word@hooks.example.com/a-path-that-is-long")
    for text in (b"pass-8Xc4-word", b"GET /a-path-that-is-long"):
        assert any(form in text for form in found)


def test_of_the_url_of_a_database_only_the_password_is_secret() -> None:
    found = forms("postgresql://gateway:pass-8Xc4-word@db.example.internal/the-database-of-the-gateway")
    assert any(form in b"pass-8Xc4-word" for form in found)
    assert not any(form in b"postgresql://gateway@db.example.internal/the-database-of-the-gateway" for form in found)
    assert forms("postgresql:///gateway?host=/run/postgresql") == set()


@pytest.mark.parametrize(
    "secret", ["token", "postgresql://user:short@host/db", "aaaaaaaaaaaa", "http://127.0.0.1/slack", "whsec_abc"]
)
def test_a_secret_that_could_stand_anywhere_by_chance_has_to_be_a_better_one(secret: str) -> None:
    with pytest.raises(Poor):
        forms(secret)


def test_a_poor_secret_is_told_where_it_was_read(tmp_path: Path) -> None:
    (said,) = planted(tmp_path, "", token="short")
    assert said.startswith("the secret of env TOKEN: no search can find it")


LEAKS = """
import os
import pytest
from pathlib import Path
from gateway.core.secrets import SecretRef
from gateway.host.environment import Environment
from gateway.core.errors import GatewayError

def test_that_leaks(tmp_path):
    secret = Environment({"TOKEN": "planted-8Xc4-token"}).secret(SecretRef(env="TOKEN"), tmp_path)
    write = os.write
    os.write = lambda descriptor, data: write(descriptor, data[:1])  # what is recorded of it shall hide nothing that follows
    (tmp_path / "other").open("w").close()
    os.write = write
    (tmp_path / "mine").write_text(secret.reveal())
    if os.environ["LEAK"]:
        GatewayError(secret.reveal())

def test_that_fails():
    assert os.environ["FAILS"] == ""
"""


@pytest.mark.parametrize(
    ("options", "leak", "fails", "status"),
    [
        ((), "", "", 0),
        ((), "", "yes", 1),
        ((), "yes", "yes", LEAKED),
        (("-n", "1"), "", "", 0),
        (("-n", "1"), "yes", "", LEAKED),
        (("--last-failed",), "yes", "", LEAKED),
        (("-k", "leaks"), "yes", "yes", LEAKED),
    ],
)
def test_a_run_with_a_leak_fails_by_an_exit_code_of_its_own(
    options: tuple[str, ...], leak: str, fails: str, status: int, tmp_path: Path
) -> None:
    (tmp_path / "test_it.py").write_text(LEAKS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    # Without the recorder of this run: it would find the leak, too.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), RECORDS: "", "LEAK": leak, "FAILS": fails}
    command = [sys.executable, "-m", "pytest", "-p", "tests.leaks.plugin", f"--basetemp={tmp_path / 'base'}", *options]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == status, run.stdout + run.stderr
    assert ("LEAKED an error of process" in run.stdout) == bool(leak)
    if leak:
        assert "the secret of env TOKEN (plan...), while test_it.py::test_that_leaks ran" in run.stdout
    assert "planted-8Xc4" not in run.stdout
