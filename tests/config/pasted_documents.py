"""Documents into which a secret was pasted, in layouts that are TOML, nearly TOML, or not TOML. § stands for the secret."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def _of(size: int, alphabet: str = _BASE64) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=size, max_size=size)


SHAPED = st.one_of(
    _of(32).map(lambda text: f"whsec_{text}="),
    _of(32).map(lambda text: f"v1,whsec_{text}"),
    _of(24).map(lambda text: f"xoxb-12345678901-123456789012-{text}"),
    _of(60).map(lambda text: f"xoxe.xoxp-1-{text}"),
    _of(40, "0123456789abcdef").map(lambda text: f"xapp-1-A0123456789-{text}"),
    _of(24).map(lambda text: f"https://hooks.slack.com/services/T0123ABCD/B0123ABCD/{text}"),
    _of(16, "bcdfghjkmnpqrtvwxz").map(lambda text: f"https://user:{text}7@erp.example/hook"),
    _of(30).map(lambda text: f"Bearer {text}9aB"),
    _of(24).map(lambda text: f"Basic {text}9aB=="),
    _of(30).map(lambda text: f"eyJhbGciOi{text}.{text}.{text}"),
    _of(64).map(lambda text: f"-----BEGIN PRIVATE KEY-----\\n{text}\\n{text}\\n-----END PRIVATE KEY-----"),
    _of(36).map(lambda text: f"ghp_{text}"),
    _of(40, "0123456789abcdef").map(lambda text: f"{text}a1"),
)
"""Secrets that can be recognised by their form, so that the tests put them anywhere."""
PLAIN = st.text("bcdfghjkmnpqrtvwxz", min_size=8, max_size=16).map(lambda text: f"q{text}7")
"""Secrets that can be recognised only by their place. They have no vowels, so that no word of ours is a part of one."""

_SENSITIVE: tuple[str, ...] = ("secrets", "secret", "bearer", "password", "token", "webhook_url", "url", "headers")
_OTHERS: tuple[str, ...] = (
    "timeout",
    "name",
    "type",
    "channel",
    "host",
    "sender",
    "recipients",
    "path",
    "match",
    "sinks",
    "listen",
    "ca",
    "key",
)
_OTHERS += ("key", "certificate", "retry", "source", "event", "allow_from", "username", "locale", "x")
_TABLES = (
    "[sources.legitmark]",
    '[sinks.erp]\ntype = "http"\nurl = "https://erp.example/hooks"',
    '[sinks.care]\ntype = "slack"',
    '[sinks.mail]\ntype = "email"\nhost = "h.example"\nsender = "a@b.example"\nrecipients = ["a@b.example"]',
    "[admin]",
    "[sinks.erp.headers]",
    "[sinks.erp.basic]",
    "[[sources.legitmark.secrets]]",
)
_OTHER_TABLES = (
    "[server]",
    "[store]",
    '[[routes]]\nname = "r"\nsinks = ["erp"]',
    '[[tests]]\nname = "t"\nevent = {}',
    "",
    "[x]",
    "[sinks]",
)
_QUOTES = ('"§"', "'§'", '"""§"""', '"""\n§\n"""', "'''§'''", "§", '"§', "'§\"", "“§”", "`§`", "<§>", "(§)")
_AROUND = (
    "[¤]",
    "[\n  ¤\n]",
    "[\n  ¤,\n  ¤,\n]",
    "[\n  ¤\n  ¤\n]",
    "[ ¤ ¤ ]",
    '[\n  { env = "A" },  # note\n  ¤\n]',
    '[{ env = "A" }, ¤, ]',
    "{ env = ¤ }",
    "{ file = ¤ }",
    "{ value = ¤ }",
    "{ ¤ }",
    "{ ¤ = 1 }",
    "[¤",
    "¤]",
    "¤ ¤",
    "¤\n¤",
    "¤ # §",
    '{ username = "u", password = ¤ }',
    '{ "x-key" = ¤, "x-key" = ¤ }',
    "{ Authorization = ¤ }",
)
_LINES = ("{} = ¤", "{}=¤", "{} =\n¤", "{}\n= ¤", "{}: ¤", "{} ¤", "{} == ¤", "export {}=¤")
_FREE = (
    "§",
    '"§"',
    '"§" = 1',
    "§ = 1",
    "[§]",
    '["§"]',
    '[sinks."§"]',
    "[sinks.§]",
    "# §\nx = = 1",
    "[server] # §",
    "[[§]]",
    "x.§ = 1",
)


@st.composite
def layouts(draw: st.DrawFn, *, anywhere: bool) -> str:
    """One document.

    Args:
        anywhere: the secret is one of SHAPED; otherwise it stands behind a key whose value is secret, rightly or misspelt.
    """
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        table = draw(st.sampled_from(_TABLES + (_OTHER_TABLES if anywhere else ())))
        more = draw(st.sampled_from(["", "", "timeout = 1", 'timeout = "1"', "retry = []", 'x = "y"']))
        free = anywhere and draw(st.integers(0, 3)) == 0
        line = draw(st.sampled_from(_FREE)) if free else draw(_pasted(_SENSITIVE + (_OTHERS if anywhere else ())))
        parts += [part for part in (table, more, line) if part]
    text = "\n".join(parts) + draw(st.sampled_from(["\n", ""]))
    if draw(st.integers(0, 4)) == 0:
        text = text.replace("\n", "\r\n")
    if draw(st.integers(0, 9)) == 0:
        text = f"\ufeff{text}"
    if draw(st.integers(0, 4)) == 0:
        lost = draw(st.integers(0, len(text) - 1))
        text = text if text[lost] == "§" else text[:lost] + text[lost + 1 :]
    return text if "§" in text else f"{text}\n§"


@st.composite
def _pasted(draw: st.DrawFn, keys: Sequence[str]) -> str:
    key = draw(st.sampled_from(keys))
    key = draw(st.sampled_from([key, key, f'"{key}"', key.upper(), key[:-1]]))
    value = draw(st.sampled_from(_QUOTES))
    for _ in range(draw(st.integers(0, 2))):
        value = draw(st.sampled_from(_AROUND)).replace("¤", value)
    return draw(st.sampled_from(_LINES)).format(key).replace("¤", value)
