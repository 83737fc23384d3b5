"""Texts that `check` accepts also work in the gateway: URLs, headers, paths, addresses, and the files that it writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import load
from gateway.config.addresses import Tcp, parse_address
from gateway.core.errors import ConfigError
from gateway.core.networks import Networks
from gateway.core.urls import parse_url
from gateway.host.environment import Environment
from gateway.sinks.net.address_guard import AddressGuard
from tests.support.webhooks import SECRET

HEAD = '[sources.legitmark]\nsecrets = [{ env = "LEGITMARK_SECRET" }]\n[[routes]]\nsinks = ["s"]\n'


HOOK = "https://hooks.slack.com/services/T0/B0/kq7Zx2Lm9w"


def problems(folder: Path, text: str, before: str = "") -> list[tuple[str, str]]:
    """Return place and message of each error."""
    file = folder / "gateway.toml"
    file.write_text(before + HEAD + text, encoding="utf-8")
    try:
        load(file, Environment({"LEGITMARK_SECRET": SECRET, "HOOK": HOOK}))
    except ConfigError as error:
        return [(problem.place, problem.wrong) for problem in error.problems if problem.level == "error"]
    return []


@pytest.mark.parametrize(
    "url",
    [
        "https://erp.example.com /x",
        "https://${HOST}/x",
        "https://erp.exa\\nmple/",
        "http:/x",
        "https//x",
        "http://[::1",
        "",
        "http://x:0/",
        "http://x:99999/",
        "http://a\\\\b/",
        "http://x/#a",
        " https://x/",
        "https://x/ü",
        "https://u:p@x/",
    ],
)
@pytest.mark.parametrize("key", ["url", "api", "link"])
def test_a_url_is_refused_at_its_place(url: str, key: str, tmp_path: Path) -> None:
    if key == "link" and ("#" in url or "ü" in url):
        return  # a browser opens it
    sink = 'type = "http"\n' if key == "url" else 'type = "slack"\ntoken = { env = "LEGITMARK_SECRET" }\nchannel = "C1"\n'
    found = problems(tmp_path, f'[sinks.s]\n{sink}{key} = "{url}"\n')
    assert [place for place, _ in found] == [f"[sinks.s] {key}"]


def test_headers_that_differ_in_case_alone_are_one_header(tmp_path: Path) -> None:
    found = problems(tmp_path, '[sinks.s]\ntype = "http"\nurl = "http://x/"\nheaders = { "X-Tenant" = "a", "x-tenant" = "b" }\n')
    assert found == [("[sinks.s] headers.x-tenant", '"x-tenant" and "X-Tenant" are the same header')]


@pytest.mark.parametrize(
    "name", ["Expect", "upgrade", "TE", "Trailer", "keep-alive", "Connection", "x y", "x:", "", "x-ü", "x\\n"]
)
def test_a_header_that_the_client_sets_itself_is_refused(name: str, tmp_path: Path) -> None:
    found = problems(tmp_path, f'[sinks.s]\ntype = "http"\nurl = "http://x/"\nheaders = {{ "{name}" = "a" }}\n')
    assert [place for place, _ in found] == [f"[sinks.s] headers.{name}".replace("\\n", "\n")]


def test_a_url_that_gets_a_path_appended_cannot_have_a_query(tmp_path: Path) -> None:
    text = '[sinks.s]\ntype = "slack"\ntoken = { env = "HOOK" }\nchannel = "C1"\napi = "https://slack.com/api?x=1"\n'
    assert [place for place, _ in problems(tmp_path, text)] == ["[sinks.s] api"]


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e400", "{ gt = nan }", "{ lte = inf }", "[1, inf]"])
def test_a_number_that_no_event_can_have_is_refused(number: str, tmp_path: Path) -> None:
    text = f'match = {{ sr_uuid = {number} }}\n[sinks.s]\ntype = "jsonl"\npath = "e.jsonl"\n'
    assert len(problems(tmp_path, text)) == 1
    assert problems(tmp_path, text.replace(number, f"{{ gt = {'9' * 400} }}")) == []


def test_probes_of_a_broken_sink_do_not_follow_each_other_without_a_wait(tmp_path: Path) -> None:
    text = '[sinks.s]\ntype = "jsonl"\npath = "e.jsonl"\nbreaker = { probe = "0s" }\n'
    assert problems(tmp_path, text) == [("[sinks.s] breaker.probe", "must be longer than 0s")]


@pytest.mark.parametrize("value", ["a\\r\\nb", "a\\u0000", "\\u007f", " a", "a "])
def test_a_header_value_that_can_not_be_sent_as_it_is_written_is_refused(value: str, tmp_path: Path) -> None:
    found = problems(tmp_path, f'[sinks.s]\ntype = "http"\nurl = "http://x/"\nheaders = {{ "x-tenant" = "{value}" }}\n')
    assert [place for place, _ in found] == ["[sinks.s] headers.x-tenant"]


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("gateway.db", "the database"),
        ("./gateway.db", "the database"),
        ("sub/../gateway.db", "the database"),
        ("link.db", "the database"),
        ("hard.db", "the database"),
        ("gateway.db-wal", "the database's WAL"),
        ("gateway.db-shm", "the database's shared memory"),
        ("gateway.db-journal", "the database's journal"),
        ("gateway.db.lock", "the database's lock"),
        ("audit.jsonl", "the audit log"),
        ("linked/audit.jsonl", "the audit log"),
        ("other.jsonl", "the sink other"),
    ],
)
def test_a_jsonl_file_belongs_to_one_sink_only(path: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "gateway.db").touch()
    (tmp_path / "link.db").symlink_to(tmp_path / "gateway.db")
    (tmp_path / "linked").symlink_to(tmp_path, target_is_directory=True)
    os.link(tmp_path / "gateway.db", tmp_path / "hard.db")
    other = '[sinks.other]\ntype = "jsonl"\npath = "other.jsonl"\n'
    found = problems(tmp_path, f'{other}[sinks.s]\ntype = "jsonl"\npath = "{path}"\n')
    assert ("[sinks.s] path", f"is the file of {what}") in found
    found = problems(tmp_path, f'{other}[sinks.s]\ntype = "jsonl"\npath = "{tmp_path / path}"\n')
    assert ("[sinks.s] path", f"is the file of {what}") in found


@pytest.mark.parametrize("path", ["gateway.db", "gateway.db-wal", "sub/../gateway.db"])
def test_the_audit_log_is_not_the_database(path: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    found = problems(
        tmp_path, f'[sinks.s]\ntype = "jsonl"\npath = "e.jsonl"\n[audit]\npath = "{path}"\n[store]\npath = "gateway.db"\n'
    )
    assert found[0][0] == "[audit] path"


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("gateway.toml", "the configuration"),
        ("more.toml", "the configuration"),
        ("secret", "the secret of file secret"),
        ("message.j2", "the template of the sink care"),
        ("gateway.db.refused", "the refused requests"),
        ("gateway.db.addresses", "the addresses of the running gateway"),
        ("gateway.db.seal", "the last seal of the audit log"),
    ],
)
def test_a_file_that_the_gateway_reads_cannot_be_one_that_it_writes(path: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "more.toml").touch()
    (tmp_path / "secret").write_text("xoxb-kq7Zx2Lm9w", encoding="utf-8")
    (tmp_path / "message.j2").write_text("{% block text %}x{% endblock %}", encoding="utf-8")
    care = '[sinks.care]\ntype = "slack"\ntoken = { file = "secret" }\nchannel = "C1"\ntemplate = "message.j2"\n'
    text = f'{care}[sinks.s]\ntype = "jsonl"\npath = "{path}"\n[audit]\npath = "{path}"\n[store]\npath = "gateway.db"\n'
    (tmp_path / "gateway.toml").touch()
    head = 'include = ["more.toml"]\n'
    found = problems(tmp_path, text, head)
    assert {("[sinks.s] path", f"is the file of {what}"), ("[audit] path", f"is the file of {what}")} <= set(found)
    if "gateway.db" not in path:
        found = problems(tmp_path, f'{care}[sinks.s]\ntype = "jsonl"\npath = "e.jsonl"\n[store]\npath = "{path}"\n', head)
        assert ("[store] path", f"is the file of {what}") in found


PATHS = {
    "[store] path": '[store]\npath = "§"\n',
    "[audit] path": '[audit]\npath = "§"\n',
    "[sinks.s] path": '[sinks.s]\ntype = "jsonl"\npath = "§"\n',
    "[sinks.s] ca": '[sinks.s]\ntype = "http"\nurl = "https://x.example/"\nca = "§"\n',
    "[sinks.s] template": '[sinks.s]\ntype = "slack"\nwebhook_url = { env = "HOOK" }\ntemplate = "§"\n',
    "[sinks.s] bearer.file": '[sinks.s]\ntype = "http"\nurl = "https://x.example/"\nbearer = { file = "§" }\n',
    "include": 'include = ["§"]\n',
}


@pytest.mark.parametrize(
    "written", ["f ", " f", "d /f", "f\\n", "f\\u0085", "~/f", "~root/f", "$HOME/f", "${HOME}/f", "{{ home }}/f", "f\\u200b"]
)
@pytest.mark.parametrize("place", PATHS)
def test_a_path_that_is_probably_a_mistake_is_refused_at_its_place(place: str, written: str, tmp_path: Path) -> None:
    text = PATHS[place].replace("§", written)
    sink = '[sinks.s]\ntype = "jsonl"\npath = "e.jsonl"\n' if "sinks" not in place else ""
    found = problems(tmp_path, sink, text) if place == "include" else problems(tmp_path, text + sink)
    assert [where for where, _ in found] == [place]


@pytest.mark.parametrize("place", [place for place in PATHS if place not in ("include", "[sinks.s] bearer.file", "[sinks.s] ca")])
@pytest.mark.parametrize("written", ["x" * 300, "gateway.toml/f", "circle"])
def test_a_path_that_no_file_can_ever_have_is_refused_at_its_place(place: str, written: str, tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    found = problems(tmp_path, PATHS[place].replace("§", written))
    assert place in [where for where, _ in found]


@pytest.mark.parametrize("name", ["a/b", "../a", "..", ".", "", " a", "a ", "a b", "a\\nb"])
def test_the_name_of_a_credential_is_the_name_of_a_file(name: str, tmp_path: Path) -> None:
    text = f'[sinks.s]\ntype = "http"\nurl = "https://x.example/"\nbearer = {{ credential = "{name}" }}\n'
    assert problems(tmp_path, text) == [("[sinks.s] bearer.credential", "is not the name of a credential")]


@pytest.mark.parametrize(
    "address",
    [
        *("localhost", "8080", ":8080", " :8080", "*:8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:+1"),
        *("::1:8080", "[::1]", "[1.2.3.4]:8080", "[fe80::1%eth0]:80", "[::ffff:127.0.0.1]:80", "127.0.0.1:8080/x", "127.1:80"),
        *("http://127.0.0.1:8080", "${HOST}:8080", "$HOST:8080", " 127.0.0.1:8080", "127.0.0.1:8080 ", "a b:80", "-a:80"),
        *("user@h:80", "h..x:80", "h\\tx:80", "h\\u200b:80", "0x7f000001:80", "256.1.1.1:80", "127.0.0.1:٨٠"),
        *(
            "unix:",
            "unix: /x",
            "unix:/x ",
            "unix:/a\\nb",
            "unix:~/x",
            "unix:${X}/x",
            f"unix:/{'x' * 107}",
            "fd:",
            "fd:a:b",
            "fd:ü",
        ),
    ],
)
@pytest.mark.parametrize("table", ["server", "admin"])
def test_an_impossible_listen_address_is_refused_at_its_place(table: str, address: str, tmp_path: Path) -> None:
    found = problems(tmp_path, f'[{table}]\nlisten = ["{address}"]\n[sinks.s]\ntype = "jsonl"\npath = "e.jsonl"\n')
    assert [place for place, _ in found] == [f"[{table}] listen"]


@given(st.text(":.[]*019afx-_ü ", max_size=24) | st.ip_addresses().map(str), st.sampled_from(["", ":0", ":080", ":65535"]))
def test_an_accepted_address_can_be_dialled_and_parses_to_itself(host: str, port: str) -> None:
    for text in (f"{host}{port}", f"[{host}]{port}"):
        try:
            address = parse_address(text, Path("/"))
        except ValueError:
            continue
        assert isinstance(address, Tcp)
        assert parse_url(f"http://{str(address).removesuffix(':0')}/").host == address.host
        assert parse_address(str(address), Path("/")) == address


@pytest.mark.parametrize(
    "channel", ["C1 ", " C1", "fraud desk", "C\\n1", "https://acme.slack.com/archives/C1", "@jane", "${C}", "<#C1>"]
)
def test_a_text_that_is_not_a_channel_is_refused(channel: str, tmp_path: Path) -> None:
    text = f'[sinks.s]\ntype = "slack"\ntoken = {{ env = "HOOK" }}\nchannel = "{channel}"\n'
    assert [place for place, _ in problems(tmp_path, text)] == ["[sinks.s] channel"]


@pytest.mark.parametrize("path", ["/a/../b", "/.", "/a/./b", "//a", "/a\\\\b", "/a%20b", "/a b", "a"])
def test_a_path_that_clients_would_send_differently_is_refused(path: str, tmp_path: Path) -> None:
    text = (
        f'[sources.other]\nsecrets = [{{ env = "LEGITMARK_SECRET" }}]\npath = "{path}"\n[sinks.s]\ntype = "jsonl"\npath = "e"\n'
    )
    assert [place for place, _ in problems(tmp_path, text)] == ["[sources.other] path"]


def test_a_token_with_the_word_bearer_before_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("Bearer kq7Zx2Lm9w", encoding="utf-8")
    text = '[sinks.s]\ntype = "http"\nurl = "https://x.example/"\nbearer = { file = "token" }\n'
    assert problems(tmp_path, text) == [("[sinks.s] bearer", "the secret of file token can't be a token: it has a blank in it")]


def test_a_network_is_written_in_the_form_of_the_addresses_it_is_compared_with(tmp_path: Path) -> None:
    for text in ("10.0.0.0/8", "::ffff:10.0.0.0/104"):
        assert AddressGuard.of([text]).allows("10.1.2.3") and AddressGuard.of([text]).allows("::ffff:10.1.2.3")
        assert not AddressGuard.of([text]).allows("11.1.2.3")
        assert Networks([text]).hold("10.1.2.3") and not Networks([text]).hold("11.1.2.3")
    for key, text in (("allow_networks", "fe80::1%eth0"), ("allow_networks", "10.0.0.1/8")):
        sink = f'[sinks.s]\ntype = "http"\nurl = "https://x.example/"\n{key} = ["{text}"]\n'
        assert [place for place, _ in problems(tmp_path, sink)] == [f"[sinks.s] {key}"]


@pytest.mark.parametrize("size", ["8GiB8", "9999999999GiB", "1\\nKiB", "1\\u00a0KiB", "1KIB"])
def test_a_size_beyond_64_bits_is_refused(size: str, tmp_path: Path) -> None:
    found = problems(tmp_path, f'[store]\nmin_free = "{size}"\n[sinks.s]\ntype = "jsonl"\npath = "e.jsonl"\n')
    assert [place for place, _ in found] == ["[store] min_free"]


@pytest.mark.parametrize("name", ["", "u ", " u", "u\\n", "u\\u200b", "${USER}", "{{ user }}"])
def test_an_unusable_user_name_is_refused(name: str, tmp_path: Path) -> None:
    mail = 'type = "email"\nhost = "h.example"\nsender = "g@example.com"\nrecipients = ["a@example.com"]\n'
    text = f'[sinks.s]\n{mail}username = "{name}"\npassword = {{ env = "HOOK" }}\n'
    assert [place for place, _ in problems(tmp_path, text)] == ["[sinks.s] username"]
    text = f'[sinks.s]\ntype = "http"\nurl = "https://x/"\nbasic = {{ username = "{name}", password = {{ env = "HOOK" }} }}\n'
    assert [place for place, _ in problems(tmp_path, text)] == ["[sinks.s] basic.username"]


@pytest.mark.parametrize("quote", ['"', "'", "`"])
def test_a_token_with_quotes_around_it_is_refused(quote: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{quote}kq7Zx2Lm9w{quote}\n", encoding="utf-8")
    http = '[sinks.s]\ntype = "http"\nurl = "https://x.example/"\nbearer = { file = "token" }\n'
    slack = '[sinks.s]\ntype = "slack"\nchannel = "C1"\ntoken = { file = "token" }\n'
    said = "the secret of file token can't be a token: it has quotes around it"
    assert problems(tmp_path, http) == [("[sinks.s] bearer", said)]
    assert problems(tmp_path, slack) == [("[sinks.s] token", said)]


@pytest.mark.parametrize(
    ("server", "admin", "refused"),
    [
        ("0.0.0.0:8080", "127.0.0.1:8080", True),
        ("127.0.0.1:8080", "0.0.0.0:8080", True),
        ("[::]:8080", "[::1]:8080", True),
        ("127.0.0.1:8080", "127.0.0.1:8080", True),
        ("0.0.0.0:8080", "127.0.0.1:8081", False),
        ("0.0.0.0:0", "127.0.0.1:0", False),
        ("127.0.0.2:8080", "127.0.0.1:8080", False),
        ("127.0.0.1:8080", "[::1]:8080", False),
        ("unix:s.sock", "unix:./s.sock", True),
        ("127.0.0.1:0", "unix:gateway.db", True),
        ("unix:audit.jsonl", "127.0.0.1:0", True),
        ("unix:sub/../gateway.toml", "127.0.0.1:0", True),
    ],
)
def test_two_listeners_cannot_have_the_same_address(server: str, admin: str, refused: bool, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    admin_table = f'[admin]\nlisten = ["{admin}"]\ntoken = {{ env = "HOOK" }}\n'
    text = f'[server]\nlisten = ["{server}"]\n{admin_table}[sinks.s]\ntype = "jsonl"\npath = "e.jsonl"\n'
    found = problems(tmp_path, text)
    assert bool(found) is refused
    assert all(place.endswith("listen") for place, _ in found)


@pytest.mark.parametrize("scheme", ["http://", "https://", "HTTPS://"])
def test_a_scheme_that_was_pasted_twice_has_its_own_message(scheme: str, tmp_path: Path) -> None:
    text = f'[sinks.s]\ntype = "http"\nurl = "https://{scheme}x/"\n'
    assert problems(tmp_path, text) == [("[sinks.s] url", "begins with two schemes")]


@pytest.mark.parametrize("host", ["169.254.169.254", "0.0.0.0", "[::]", "[fd00:ec2::254]", "224.0.0.1", "10.0.0.1"])
def test_an_address_that_no_delivery_could_reach_is_a_warning(host: str, tmp_path: Path) -> None:
    only = 'allow_networks = ["192.0.2.0/24"]\n' if host == "10.0.0.1" else ""
    mail = 'type = "email"\nsender = "g@example.com"\nrecipients = ["a@example.com"]\n'
    for key, sink in (("url", f'type = "http"\nurl = "https://{host}/"\n'), ("host", f'{mail}host = "{host}"\n')):
        file = tmp_path / "gateway.toml"
        file.write_text(f"{HEAD}[sinks.s]\n{sink}{only}", encoding="utf-8")
        config = load(file, Environment({"LEGITMARK_SECRET": SECRET}))
        said = "names an address that this sink may not dial: nothing can be delivered"
        assert [(problem.place, problem.wrong) for problem in config.warnings] == [(f"[sinks.s] {key}", said)]
