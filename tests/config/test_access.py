"""The keys about incoming webhooks (TLS, trusted proxies, allowed senders), and the checks on them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.config import Config, load
from gateway.config.diff import differences, until_restart
from gateway.core.errors import ConfigError, Problem
from gateway.core.secrets import SecretRef
from gateway.host.environment import Environment
from tests.support.certificates import Certified
from tests.support.webhooks import SECRET

PEM_END = "-----END CERTIFICATE-----\n"
DAY = 86400.0


def loaded(folder: Path, server: str = "", source: str = "", *, secrets: bool = True, now: float | None = None) -> Config:
    file = folder / "gateway.toml"
    file.write_text(f'[server]\n{server}\n[sources.legitmark]\nsecrets = [{{ env = "S" }}]\n{source}\n[[routes]]\nsinks = []\n')
    return load(file, Environment({"S": SECRET}), secrets=secrets, now=now)


def warned(*arguments: str, folder: Path) -> list[tuple[str, str]]:
    return [(problem.place, problem.wrong) for problem in loaded(folder, *arguments).warnings]


# TLS.


@pytest.mark.parametrize(
    "written",
    [
        'tls = { certificate = "server.pem", key = "server.key" }',
        'tls = { certificate = { file = "server.pem" }, key = { file = "server.key" } }',
        '[server.tls]\ncertificate = "server.pem"\nkey = { file = "server.key" }',
    ],
)
def test_the_pair_is_found_next_to_the_file_however_it_is_written(written: str, tmp_path: Path) -> None:
    Certified(tmp_path).issue()
    config = loaded(tmp_path, written)
    assert config.warnings == () and config.server.tls is not None
    assert config.server.tls.pair == (SecretRef(file="server.pem"), SecretRef(file="server.key"))
    assert "BEGIN CERTIFICATE" in config.secret(config.server.tls.pair[0]).reveal()
    assert "PRIVATE KEY" not in repr(config)


def test_a_machine_without_the_pair_can_check_the_rest(tmp_path: Path) -> None:
    toml = Certified(tmp_path).toml
    assert loaded(tmp_path, toml, secrets=False).warnings == ()
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, toml)
    assert [problem.place for problem in error.value.problems] == ["[server] tls.certificate", "[server] tls.key"]


def problem_with(folder: Path, toml: str, now: float | None = None) -> Problem:
    try:
        (problem,) = loaded(folder, toml, now=now).warnings
    except ConfigError as error:
        (problem,) = error.problems
    return problem


def test_the_caret_points_at_the_wrong_part(tmp_path: Path) -> None:
    certified = Certified(tmp_path)
    certified.issue()
    key = (tmp_path / "server.key").read_text()
    certified.issue()
    certified.write(key=key)
    problem = problem_with(tmp_path, certified.toml)
    assert (problem.level, problem.place, problem.line) == ("error", "[server] tls.key", 2)
    assert problem.column is not None and problem.source[problem.column - 1 :].startswith('"server.key"')
    assert problem.wrong == "does not belong to the certificate, which is the first one in its file"


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (-2.0, "is not valid before {begins}: clients refuse it until then; or the clock of this host is wrong"),
        (0.0, None),
        (68.9, None),
        (69.1, "expires on {ends}, in 20 day(s)"),
        (90.1, "expired on {ends}: clients refuse it"),
    ],
)
def test_an_expired_certificate_is_a_warning_by_the_clock(days: float, said: str | None, tmp_path: Path) -> None:
    certified = Certified(tmp_path)
    ends = certified.issue()
    begins = ends.timestamp() - 91 * DAY
    now = ends.timestamp() - 90 * DAY + days * DAY
    found = [problem.wrong for problem in loaded(tmp_path, certified.toml, now=now).warnings]
    on = {"begins": datetime.fromtimestamp(begins, UTC).date(), "ends": ends.date()}
    assert found == ([said.format(**on)] if said else [])
    if said:
        assert problem_with(tmp_path, certified.toml, now).level == "warning"


def test_the_client_certificate_of_a_sink_is_checked_like_our_own(tmp_path: Path) -> None:
    certified = Certified(tmp_path)
    ends = certified.issue()
    sink = '[sinks.s]\ntype = "http"\non_stale = "annotate"\nurl = "https://x.example/"\n[[routes]]\nsinks = ["s"]\n'
    pair = 'certificate = { file = "server.pem" }\nkey = { file = "server.key" }\n'
    text = sink.replace("[[routes]]", f"{pair}[[routes]]")
    (found,) = (one for one in loaded(tmp_path, f"\n{text}", now=ends.timestamp() + DAY).warnings if "expired" in one.wrong)
    assert (found.place, found.wrong) == ("[sinks.s] certificate", f"expired on {ends.date()}: servers refuse it")
    certificates = [f"{one}-----END CERTIFICATE-----\n" for one in (tmp_path / "server.pem").read_text().split(PEM_END)[:2]]
    certified.write(certificate="".join([*certificates, certificates[0]]))
    (found,) = (one for one in loaded(tmp_path, f"\n{text}").warnings if "order" in one.wrong)
    assert found.wrong.startswith("is in the wrong order: certificate 3 of its file did not issue")
    assert problem_with(tmp_path, certified.toml).wrong == found.wrong.replace("servers", "clients")


def test_a_world_readable_key_is_a_warning_but_a_certificate_is_not(tmp_path: Path) -> None:
    certified = Certified(tmp_path)
    certified.issue()
    for name in ("server.pem", "server.key"):
        (tmp_path / name).chmod(0o644)
    assert warned(certified.toml, folder=tmp_path) == [("[server] tls.key", "every user of this machine can read server.key")]


def test_tls_without_a_tcp_listener_is_a_warning(tmp_path: Path) -> None:
    certified = Certified(tmp_path)
    certified.issue()
    for listen, said in (('"unix:a.sock"', True), ('"unix:a.sock", "fd:webhooks"', False), ('"0.0.0.0:8443"', False)):
        found = warned(f"listen = [{listen}]\n{certified.toml}", folder=tmp_path)
        assert found == [("[server] tls", "has no effect: unix sockets never use TLS")] * said


def test_a_renewed_certificate_is_a_difference_that_names_both_days(tmp_path: Path) -> None:
    certified = Certified(tmp_path)
    first = certified.issue(days=40)
    old = loaded(tmp_path, certified.toml)
    second = certified.issue(days=90)
    new = loaded(tmp_path, certified.toml)
    (found,) = differences(old, new)
    assert str(found) == f"changed [server] tls: certificate valid until {first.date()} -> renewed, valid until {second.date()}"
    assert differences(new, loaded(tmp_path, certified.toml)) == []


def test_turning_tls_on_or_off_needs_a_restart(tmp_path: Path) -> None:
    certified = Certified(tmp_path)
    certified.issue()
    plain, encrypted = loaded(tmp_path), loaded(tmp_path, certified.toml)
    assert until_restart(plain, encrypted).server.tls is None
    stays = until_restart(encrypted, plain)
    assert stays.server.tls is not None and stays.server.tls == encrypted.server.tls
    assert all(stays.secret(ref) is encrypted.secret(ref) for ref in stays.server.tls.pair)
    assert [(one.place, one.restart) for one in differences(stays, plain)] == [("[server] tls", True)]
    certified.toml = certified.toml.replace("server.", "other.")
    for name in ("pem", "key"):
        (tmp_path / f"server.{name}").rename(tmp_path / f"other.{name}")
    assert [one.restart for one in differences(encrypted, loaded(tmp_path, certified.toml))] == [False], "another place will do"


# Who may send.

NOBODY = "refuses every webhook: only this host can reach the gateway, and no proxy on it is trusted"


@pytest.mark.parametrize(
    ("listen", "proxies", "allowed", "refused"),
    [
        ('"127.0.0.1:8080"', "", '"203.0.113.0/24"', True),
        ('"[::1]:8080", "unix:a.sock"', "", '"203.0.113.0/24"', True),
        ('"unix:a.sock"', "", '"127.0.0.1"', True),
        ('"127.0.0.1:8080"', "", '"203.0.113.0/24", "127.0.0.1"', False),
        ('"127.0.0.1:8080"', "", '"0.0.0.0/0"', False),
        ('"127.0.0.1:8080"', '"127.0.0.1"', '"203.0.113.0/24"', False),
        ('"127.0.0.1:8080", "unix:a.sock"', '"unix"', '"203.0.113.0/24"', False),
        ('"127.0.0.1:8080"', '"unix"', '"203.0.113.0/24"', True),
        ('"unix:a.sock"', '"127.0.0.1"', '"203.0.113.0/24"', True),
        ('"127.0.0.1:8080"', '"10.0.0.5"', '"203.0.113.0/24"', True),
        ('"0.0.0.0:8080"', "", '"203.0.113.0/24"', False),
        ('"127.0.0.1:8080", "10.0.0.1:8080"', "", '"203.0.113.0/24"', False),
        ('"fd:webhooks"', "", '"203.0.113.0/24"', False),
    ],
)
def test_a_missing_trusted_proxy_is_a_warning_if_nobody_could_send(
    listen: str, proxies: str, allowed: str, refused: bool, tmp_path: Path
) -> None:
    server = f"listen = [{listen}]\ntrusted_proxies = [{proxies}]"
    found = warned(server, f"allow_from = [{allowed}]", folder=tmp_path)
    assert found == [("[sources.legitmark] allow_from", NOBODY)] * refused


def test_by_default_everybody_may_send_and_no_forwarding_header_counts(tmp_path: Path) -> None:
    config = loaded(tmp_path)
    assert (config.server.trusted_proxies, config.sources["legitmark"].allow_from, config.warnings) == ([], None, ())


@pytest.mark.parametrize("text", ["10.0.0.0/8", "10.1.2.3", "::1", "unix", "2001:DB8:0::/32", "10.0.0.0/255.0.0.0"])
def test_networks_and_single_addresses_are_good(text: str, tmp_path: Path) -> None:
    assert warned(f'trusted_proxies = ["{text}"]', folder=tmp_path) == []
