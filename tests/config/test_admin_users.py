"""The keys about who may use the admin listener: what they become, what is warned of, and what a reload makes of a change."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app.derive import door_of
from gateway.config import Config, load
from gateway.config.diff import differences, until_restart
from gateway.core.errors import ConfigError
from gateway.core.users import Role
from gateway.host.environment import Environment
from tests.support.webhooks import SECRET

VARIABLES = {
    "S": SECRET,
    "ADMIN": "a-token-of-admin-4711",
    "SUZUKI": "a-token-of-suzuki-4711",
    "SHORT": "tiger-4711",
    "WIDE": "虎の巻の鍵は四七一一番地にある",
}
SUZUKI = '[admin.users.suzuki]\ntoken = { env = "SUZUKI" }\nrole = "support"\n'


def loaded(folder: Path, admin: str, users: str = "", variables: dict[str, str] | None = None) -> Config:
    file = folder / "gateway.toml"
    rest = '[sources.legitmark]\nsecrets = [{ env = "S" }]\n[[routes]]\nsinks = []\n'
    file.write_text(f"[admin]\n{admin}\n{users}\n{rest}")
    return load(file, Environment({**VARIABLES, **(variables or {})}))


def warned(folder: Path, admin: str, users: str = "") -> list[tuple[str, str]]:
    return [(problem.place, problem.wrong) for problem in loaded(folder, admin, users).warnings]


def test_the_token_of_admin_and_the_users_become_users_with_roles(tmp_path: Path) -> None:
    door = door_of(loaded(tmp_path, 'token = { env = "ADMIN" }\nhosts = ["Gateway.example.com"]', SUZUKI))
    found = {user.name: (user.role, user.token.reveal() if user.token else None) for user in door.users}
    assert found == {"admin": (Role.OPERATE, VARIABLES["ADMIN"]), "suzuki": (Role.SUPPORT, VARIABLES["SUZUKI"])}
    assert door.hosts == {"127.0.0.1", "gateway.example.com"} and door.asks
    assert not door_of(loaded(tmp_path, "")).asks


def test_a_name_may_be_a_mail_address_or_have_letters_of_any_script(tmp_path: Path) -> None:
    users = '[admin.users."suzuki@example.com"]\nrole = "read"\n[admin.users."鈴木 一郎"]\nrole = "operate"\n'
    door = door_of(loaded(tmp_path, 'listen = ["unix:a.sock"]\nuser_header = "x-forwarded-user"', users))
    assert [(user.name, user.token) for user in door.users] == [("suzuki@example.com", None), ("鈴木 一郎", None)]


@pytest.mark.parametrize(
    ("admin", "users", "warning"),
    [
        ('token = { env = "ADMIN" }', SUZUKI, None),
        ('listen = ["10.0.0.1:8081"]', SUZUKI, ("[admin] listen", "tokens and sessions pass other machines unencrypted")),
        ('listen = ["unix:a.sock"]', SUZUKI, None),
        ('user_header = "x-user"', "", ("[admin] user_header", "never counts: no proxy is trusted")),
        ('user_header = "x-user"\nlisten = ["unix:a.sock"]', "", None),
        ('user_header = "x-user"\ntrusted_proxies = ["127.0.0.1"]', "", None),
        ('user_header_role = "read"', "", ("[admin] user_header_role", "has no effect without user_header")),
        ('token = { env = "SHORT" }', "", ("[admin] token", "has fewer than 16 characters, so that it can be guessed")),
        ("", SUZUKI.replace("SUZUKI", "WIDE"), ("[admin.users.suzuki] token", "has characters that cannot be sent in a header")),
    ],
)
def test_what_works_and_is_probably_not_meant_is_warned_of(
    tmp_path: Path, admin: str, users: str, warning: tuple[str, str] | None
) -> None:
    found = warned(tmp_path, admin, users)
    assert [place for place, _ in found] == ([warning[0]] if warning else [])
    assert warning is None or found[0][1].startswith(warning[1])


@pytest.mark.parametrize("asks", ['token = { env = "ADMIN" }', 'user_header = "x-user"', ""])
def test_an_address_that_others_can_reach_needs_somebody_to_ask_for(tmp_path: Path, asks: str) -> None:
    listen = 'listen = ["10.0.0.1:8081"]\n'
    assert loaded(tmp_path, listen, SUZUKI)
    if asks:
        assert loaded(tmp_path, listen + asks)
    else:
        with pytest.raises(ConfigError, match=r"\[admin\] token: is required"):
            loaded(tmp_path, listen)


def test_a_reload_names_each_user_that_changed_and_shows_no_token(tmp_path: Path) -> None:
    tanaka = SUZUKI.replace("suzuki", "tanaka").replace("SUZUKI", "TANAKA")
    old = loaded(tmp_path, "", SUZUKI + tanaka, {"TANAKA": "a-token-of-tanaka-1"})
    sato = SUZUKI.replace("suzuki", "sato").replace("SUZUKI", "SATO")
    other = {"TANAKA": "a-token-of-tanaka-2", "SATO": "a-token-of-sato-4711"}
    new = loaded(tmp_path, "", tanaka.replace("support", "read") + sato, other)
    said = [str(change) for change in differences(old, new)]
    assert "a-token" not in str(said)
    assert [one.partition(":")[0] for one in said] == [
        "removed [admin.users.suzuki]",
        "changed [admin.users.tanaka] token",
        "changed [admin.users.tanaka] role",
        "added [admin.users.sato]",
    ]
    assert not any(change.restart for change in differences(old, new))


def test_a_listener_that_stays_at_its_old_address_goes_on_asking_until_the_restart(tmp_path: Path) -> None:
    old = loaded(tmp_path, 'listen = ["10.0.0.1:8081"]', SUZUKI)
    new = loaded(tmp_path, 'listen = ["127.0.0.1:8081"]')
    stays = until_restart(old, new)
    assert [user.name for user in door_of(stays).users] == ["suzuki"] and stays.admin.listen == ["10.0.0.1:8081"]
    assert not until_restart(old, loaded(tmp_path, 'listen = ["10.0.0.1:8081"]\ntoken = { env = "ADMIN" }')).admin.users
