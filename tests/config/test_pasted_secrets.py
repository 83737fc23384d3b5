"""A secret was pasted into the file, in any layout. No output contains six characters of it in a row."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings

from gateway.cli.check import check
from gateway.config import load
from gateway.config.secrecy import Cleaner
from gateway.core.errors import ConfigError, Problem
from gateway.host.environment import Environment
from tests.config.pasted_documents import PLAIN, SHAPED, layouts
from tests.support.webhooks import SECRET

PIECE = 6
BEFORE = '[server]\nlisten = ["127.0.0.1:0"]\n'
SOURCE = '[sources.legitmark]\nsecrets = [{ env = "LEGITMARK_SECRET" }]\n'
ERP = '[sinks.erp]\ntype = "http"\nurl = "https://erp.example/hooks"\n'
ROUTE = '[[routes]]\nname = "all"\nsinks = ["erp"]\n'

OURS = (
    "whsec_ https:// https:/ hooks.slack.com/services/ @erp.example/hook https://user: Bearer Basic xoxb-1 -----BEGIN PRIVATE KEY"
)
"""Parts of secrets that reveal nothing."""

IN_PLACE = [
    '[sources.legitmark]\nsecrets = "§"\n',
    '[sources.legitmark]\nsecrets = ["§"]\n',
    '[sources.legitmark]\nsecrets = [\n  "§"\n]\n',
    '[sources.legitmark]\nsecrets = [\n  "§"\n  "§"\n]\n',
    '[sources.legitmark]\nsecrets = ["§" "§"]\n',
    '[sources.legitmark]\nsecrets = [\n  { env = "LEGITMARK_SECRET" },\n  §,\n]\n',
    "[sources.legitmark]\nsecrets = §\n",
    "[sources.legitmark]\nsecrets =\n§\n",
    '[sources.legitmark]\nsecrets =\n"§"\n',
    "[sources.legitmark]\nsecrets\n= §\n",
    '[sources.legitmark]\nsecrets = """\n§\n"""\n',
    '[sources.legitmark]\nsecrets = ["""\\\n   §\\\n   """]\n',
    "[sources.legitmark]\nsecrets = ['''§\n''']\n",
    '[sources.legitmark]\nsecrets = ["§\n',
    "[sources.legitmark]\nsecrets = ['§\"]\n",
    '[sources.legitmark]\nsecrets = [{ env = "§" }]\n',
    '[sources.legitmark]\nsecrets = [{ value = "§" }]\n',
    '[sources.legitmark]\nsecrets = [{ env "§" }]\n',
    "[sources.legitmark]\nsecrets = [{ § }]\n",
    '[sources.legitmark]\nsecret = ["§"]\n',
    '[sources.legitmark]\nsecerts = "§"\n',
    '[sources.legitmark.secrets]\nenv = ["§"]\n',
    '[[sources.legitmark.secrets]]\nvalue = "§"\n',
    '[[sources.legitmark.secrets]]\n"§"\n',
    'sources.legitmark.secrets = ["§"]\n',
    'sources = { legitmark = { secrets = ["§"] } }\n',
    f'{SOURCE}{ERP}bearer = "§"\n',
    f"{SOURCE}{ERP}bearer = §\n",
    f"{SOURCE}{ERP}bearer: §\n",
    f"{SOURCE}{ERP}bearer §\n",
    f"{SOURCE}{ERP}§\n",
    f'{SOURCE}{ERP}bearer = "§" "§"\n',
    f'{SOURCE}{ERP}basic = {{ username = "u", password = "§" }}\n',
    f'{SOURCE}{ERP}basic = {{ username = "u", password = "§"\n}}\n',
    f'{SOURCE}{ERP}[sinks.erp.basic]\nusername = "u"\npassword = "§"\n',
    f'{SOURCE}{ERP}headers = ["§"]\n',
    f'{SOURCE}{ERP}headers = {{ "x-key" = ["§"] }}\n',
    f'{SOURCE}{ERP}headers = {{ "x key" = "§" }}\n',
    f'{SOURCE}{ERP}headers = {{ Authorization = "§" }}\n',
    f'{SOURCE}{ERP}[sinks.erp.headers]\n"x key" = "§"\n',
    f'{SOURCE}{ERP}[sinks.erp.headers]\n"x-key" = "§"\n"x-key" = "§"\n',
    f'{SOURCE}[sinks.erp]\ntype = "http"\nurl = "https://user:§@erp.example/"\n',
    f'{SOURCE}[sinks.erp]\ntype = "http"\nurl = "ftp://erp.example/?token=§"\n',
    f'{SOURCE}[sinks.erp]\ntype = "http"\nurl = "https://erp.example /?token=§"\n',
    f'{SOURCE}[sinks.care]\ntype = "slack"\nwebhook_url = "§"\n',
    f'{SOURCE}{ERP}proxy = "http://user:§@proxy.example:3128"\n',
    f'{SOURCE}{ERP}proxy = "§@proxy.example:3128"\n',
    f'{SOURCE}{ERP}proxy = ["http://user:§@proxy.example"]\n',
    f'{SOURCE}[sinks.care]\ntype = "slack"\ntoken = 1\nchannel = "§"\ntoken = "§"\n',
    f'{SOURCE}[admin]\ntoken = "§"\n',
    f"{SOURCE}[admin]\ntoken = §\n",
    f'{SOURCE}[admin]\ntoken = {{ env = "§" }}\n',
    '[sources.legitmark]\nsecrets."§" = 1\n',
    "[sources.legitmark]\nsecrets.§ = 1\n",
    '[sources.legitmark.secrets."§"]\nenv = "LEGITMARK_SECRET"\n',
    "[sources.legitmark.secrets.§]\n",
    f'{SOURCE}{ERP}basic = "user:§"\n',
    f'{SOURCE}{ERP}basic = ["user", "§"]\n',
    f'{SOURCE}[sinks.mail]\ntype = "email"\nhost = "user:§@mail.example"\n',
    f'{SOURCE}[sinks.mail]\ntype = "email"\nhost = "smtps://user:§/x@mail.example"\n',
    "[sources.legitmark]\nsecrets = [\n  a§,b{c}d\n]\n",
    '{"sources": {"legitmark": {"secrets": ["x=§"]}}}\n',
]
SHAPED_ONLY = [
    '[sources.legitmark]\nsecrets = { "§" = 1 }\n',
    "[sources.legitmark]\nsecrets = { § = 1 }\n",
    '[sources.legitmark]\n"§" = 1\n',
    '[sources."§"]\nsecrets = [{ env = "LEGITMARK_SECRET" }]\n',
    '["§"]\n',
    "[§]\n",
    "[§\n",
    "§\n",
    "§ = 1\n",
    '"§" = "§"\n',
    f"{SOURCE}# §\nx = = 1\n",
    f"{SOURCE}[server] # §\nlisten = 1 # §\nlisten = 2 # §\n",
    f'{SOURCE}[sinks."§"]\ntype = "http"\n',
    f'{SOURCE}[sinks.erp]\ntype = "§"\n',
    f"{SOURCE}[sinks.erp]\ntype = §\n",
    f'{SOURCE}{ERP}timeout = "§"\nrate = "§"\nretry = ["§"]\nallow_networks = ["§"]\nmethod = "§"\n',
    f'{SOURCE}{ERP}ca = "§"\n',
    f'{SOURCE}{ERP}certificate = {{ file = "§" }}\nkey = {{ credential = "§" }}\n',
    f'{SOURCE}{ERP}headers = {{ "§" = "x" }}\n',
    f'{SOURCE}{ERP}[[routes]]\nname = "§"\nsinks = ["§"]\nsource = "§"\nmatch = {{ event_type = "§", "§" = 1 }}\n',
    f'{SOURCE}{ERP}[[tests]]\nname = "§"\nevent = {{}}\nsinks = ["§"]\nroutes = ["§"]\nwithout = ["§"]\n',
    f'{SOURCE}[sinks.mail]\ntype = "email"\nhost = "§"\nsender = "§"\nrecipients = ["§"]\nsecurity = "§"\nusername = "§"\n',
    f'{SOURCE}[server]\nlisten = ["§"]\ntrusted_proxies = ["§"]\nmax_body = "§"\ntls = {{ certificate = "§", key = "§" }}\n',
    f'{SOURCE}[defaults]\ntimezone = "§"\nlocale = "§"\n',
    f'{SOURCE}[sinks.care]\ntype = "slack"\nwebhook_url = {{ env = "HOOK" }}\nlink = "§"\ntemplate = "§"\napi = "§"\n',
    'include = ["§"]\n',
    "include = §\n",
]


def said_about(text: str, folder: Path) -> list[str]:
    """Return the output of `check`, as text and as JSON, and the problems in the answer to a reload."""
    file = folder / "gateway.toml"
    file.write_text(text, encoding="utf-8", newline="")
    said = []
    for json_ in (False, True):
        output = io.StringIO()
        with redirect_stdout(output), redirect_stderr(output), pytest.MonkeyPatch.context() as patch:
            patch.setenv("LEGITMARK_SECRET", SECRET)
            check(file, json_=json_)
        said.append(output.getvalue())
    try:
        problems: tuple[Problem, ...] = load(file, Environment({"LEGITMARK_SECRET": SECRET})).warnings
    except ConfigError as error:
        problems = error.problems
        said.append(str(error))
    said.append(json.dumps(msgspec.to_builtins(problems), ensure_ascii=False))
    return said


def shown(secret: str, said: str, text: str) -> list[str]:
    """Return the parts of a secret in the output, except those that also occur in the rest of the file or in our own words."""
    rest = f"{text.replace('§', ' ')} {OURS}"
    pieces = {secret[at : at + PIECE] for at in range(len(secret) - PIECE + 1)}
    return sorted(piece for piece in pieces if piece in said and piece not in rest)


@pytest.mark.parametrize("layout", IN_PLACE + SHAPED_ONLY)
@settings(max_examples=8)
@given(secret=SHAPED)
def test_a_recognisable_secret_is_never_shown(layout: str, secret: str) -> None:
    with TemporaryDirectory() as folder:
        for said in said_about(BEFORE + layout.replace("§", secret), Path(folder)):
            assert shown(secret, said, BEFORE + layout) == []


@pytest.mark.parametrize("layout", IN_PLACE)
@settings(max_examples=8)
@given(secret=PLAIN)
def test_any_word_in_the_place_of_a_secret_is_never_shown(layout: str, secret: str) -> None:
    with TemporaryDirectory() as folder:
        for said in said_about(BEFORE + layout.replace("§", secret), Path(folder)):
            assert shown(secret, said, BEFORE + layout) == []


@pytest.mark.parametrize("layout", IN_PLACE + SHAPED_ONLY)
@settings(max_examples=3)
@given(secret=SHAPED)
def test_a_secret_in_an_included_file_is_never_shown(layout: str, secret: str) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / "more.toml").write_text(layout.replace("§", secret), encoding="utf-8")
        for said in said_about(f'include = ["*.toml"]\n{SOURCE}{ROUTE}', Path(folder)):
            assert shown(secret, said, layout) == []


@settings(max_examples=400)
@given(layouts(anywhere=True), SHAPED)
def test_a_recognisable_secret_is_never_shown_in_any_layout(layout: str, secret: str) -> None:
    with TemporaryDirectory() as folder:
        for said in said_about(layout.replace("§", secret), Path(folder)):
            assert shown(secret, said, layout) == []


@settings(max_examples=400)
@given(layouts(anywhere=False), PLAIN)
def test_any_word_after_a_secret_key_is_never_shown_in_any_layout(layout: str, secret: str) -> None:
    with TemporaryDirectory() as folder:
        for said in said_about(layout.replace("§", secret), Path(folder)):
            assert shown(secret, said, layout) == []


@pytest.mark.parametrize(
    ("layout", "secret"),
    [
        ("[sources.legitmark]\nsecrets = [\n§\n]\n", "rd,zq{7},k#w"),
        ("[sources.legitmark]\nsecrets = [\n§\n]\n", "zebra kwart vyol 9 jukeb"),
        (f"{SOURCE}{ERP}[sinks.erp.headers]\nx-key = §\n", "zebra kwart vyol 9 jukeb"),
        ('{"sources": {"legitmark": {"secrets": ["§"]}}}\n', "p#zqW=rd,zq{7}"),
        ("token = §\n", "8374920158"),
        ('sources = "§"\n', "zqxkvbnmtr"),
        ('sources = ["§"]\n', "zqxkvbnmtr"),
        ('admin = "§"\n', "zqxkvbnmtr"),
        ('[sources.legitmark]\nsecrets = [{ credential = "§" }]\n', "zq7-kx2-pw9-vb4"),
        ('[sources.legitmark]\nsecrets = [{ credential = "§" }]\n', "zebra kwartz"),
    ],
)
def test_an_unusual_password_or_one_in_an_unusual_place_is_never_shown(layout: str, secret: str, tmp_path: Path) -> None:
    for said in said_about(layout.replace("§", secret), tmp_path):
        assert shown(secret, said, layout) == []


@pytest.mark.parametrize("name", ["legitmark", "slack2", "erp-2-token", "legitmark.old", "smtp_password"])
def test_the_name_of_a_credential_is_shown(name: str, tmp_path: Path) -> None:
    text = f'[sources.legitmark]\nsecrets = [{{ credential = "{name}" }}]\n'
    assert f"credential {name}: $CREDENTIALS_DIRECTORY is not set" in said_about(text, tmp_path)[0]


def test_a_value_that_is_not_a_secret_is_shown() -> None:
    text = f'{SOURCE}{ERP}timeout = "30 seconds"\n{ROUTE}'
    cleaner = Cleaner([text])
    for line in text.splitlines():
        assert cleaner.line(line) == line or "url" in line
    for words in ("[sources.legitmark] secrets", "unknown key", 'did you mean "timeout"?', "/etc/legitmark-gateway/gateway.toml"):
        assert cleaner.words(words) == words


def test_the_words_of_a_comment_on_a_secret_hide_no_words_of_a_message() -> None:
    cleaner = Cleaner([SOURCE.rstrip("\n") + "  # Legitmark's signing secret; it never stands in this file\n"])
    for words in ("no known event has this field", "in this file", "one signing secret"):
        assert cleaner.words(words) == words
    assert Cleaner([f"{SOURCE}# hunter\n" + 'token = { env = "A" } # it was hunter2-x\n']).words("hunter2-x") == "***"


@pytest.mark.parametrize(
    "text",
    [
        f'{SOURCE}{ERP}headers = {{ "x-key" = "§" }}\n{ROUTE}',
        f"{SOURCE}{ERP}{ROUTE}".replace('"all"', '"§"'),
        f"{SOURCE}{ERP}{ROUTE}".replace("https://erp.example/hooks", "https://hooks.slack.com/services/T0/B0/abc"),
        f'{SOURCE}{ERP}{ROUTE}[[tests]]\nname = "§"\nevent = {{}}\nsinks = ["erp"]\n',
        f"{SOURCE}{ERP}{ROUTE}".replace("erp", "whsec_abcdefgh"),
    ],
)
def test_an_unmistakable_secret_is_an_error_anywhere(text: str, tmp_path: Path) -> None:
    said = said_about(text.replace("§", SECRET), tmp_path)
    assert all("which cannot be written into this file" in one for one in said)
