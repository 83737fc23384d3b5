"""`[defaults]`, and the keys of sinks whose messages people read. The errors are in bad/bad_messages.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import Config, load
from gateway.config.diff import differences
from gateway.delivery import lanes
from gateway.host.environment import Environment
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.slack.config import SlackConfig
from tests.support.webhooks import SECRET

BASE = """
[sources.legitmark]
secrets = [{ env = "LEGITMARK_SECRET" }]
[sinks.desk]
type = "slack"
webhook_url = { env = "WEBHOOK" }
[sinks.care]
type = "email"
host = "smtp.example.com"
sender = "gateway@example.com"
recipients = ["care@example.com"]
[sinks.archive]
type = "jsonl"
path = "events.jsonl"
[[routes]]
sinks = ["desk", "care", "archive"]
"""
VARIABLES = {"LEGITMARK_SECRET": SECRET, "WEBHOOK": "https://hooks.example.com/T0/B0/hook-5Wd3"}
TEMPLATE = BASE.replace('type = "email"\n', 'type = "email"\ntemplate = "mail.jinja"\n')


def loaded(folder: Path, text: str) -> Config:
    (folder / "gateway.toml").write_text(text, encoding="utf-8")
    return load(folder / "gateway.toml", Environment(VARIABLES))


def languages(config: Config) -> dict[str, tuple[str | None, str | None]]:
    sinks = config.sinks.items()
    return {name: (sink.locale, sink.timezone) for name, sink in sinks if isinstance(sink, SlackConfig | EmailConfig)}


def test_the_defaults_are_english_and_utc(tmp_path: Path) -> None:
    assert languages(loaded(tmp_path, BASE)) == {"desk": ("en", "UTC"), "care": ("en", "UTC")}


def test_the_defaults_apply_to_every_sink_without_its_own_value(tmp_path: Path) -> None:
    text = '[defaults]\nlocale = "ja"\ntimezone = "Asia/Tokyo"\n' + BASE
    assert languages(loaded(tmp_path, text)) == {"desk": ("ja", "Asia/Tokyo"), "care": ("ja", "Asia/Tokyo")}
    text = text.replace('type = "slack"\n', 'type = "slack"\nlocale = "en"\n')
    text = text.replace('type = "email"\n', 'type = "email"\ntimezone = "Europe/Berlin"\n')
    assert languages(loaded(tmp_path, text)) == {"desk": ("en", "Asia/Tokyo"), "care": ("ja", "Europe/Berlin")}


def test_other_defaults_are_a_change_of_each_sink_that_has_them(tmp_path: Path) -> None:
    old = loaded(tmp_path, BASE)
    new = loaded(tmp_path, BASE + '[defaults]\nlocale = "ja"\n')
    assert [str(change) for change in differences(old, new)] == [
        'changed [defaults] locale: "en" -> "ja"',
        'changed [sinks.desk] locale: "en" -> "ja"',
        'changed [sinks.care] locale: "en" -> "ja"',
    ]


def test_a_template_path_starts_at_the_folder_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "mail.jinja").write_text("{{ headline }}")
    head, care = BASE.split("[sinks.care]")
    care, rest = care.split("[sinks.archive]")
    (tmp_path / "more" / "care.toml").write_text(f'[sinks.care]{care}template = "mail.jinja"\n')
    config = loaded(tmp_path, f'include = ["more/*.toml"]\n{head}[sinks.archive]{rest}')
    care_sink = config.sinks["care"]
    assert isinstance(care_sink, EmailConfig)
    assert care_sink.template == str(tmp_path / "more" / "mail.jinja")
    assert config.sink_files == {"care": {"template": "{{ headline }}"}}


def test_another_text_in_the_same_template_is_a_change_and_the_sink_is_opened_anew(tmp_path: Path) -> None:
    (tmp_path / "mail.jinja").write_text("{{ headline }}")
    old = loaded(tmp_path, TEMPLATE)
    same = loaded(tmp_path, TEMPLATE)
    (tmp_path / "mail.jinja").write_text("{{ headline }}: {{ item }}")
    new = loaded(tmp_path, TEMPLATE)
    assert differences(old, same) == []
    assert [str(change) for change in differences(old, new)] == [
        "changed [sinks.care] template:  -> another text in the same file"
    ]
    assert lanes._alike("care", old, same)
    assert not lanes._alike("care", old, new)
    assert lanes._alike("desk", old, new)


def test_a_template_gets_a_warning_if_some_events_lack_a_field_that_it_reads(tmp_path: Path) -> None:
    (tmp_path / "mail.jinja").write_text("{{ headline }}\n{{ event.state.primary }}")
    (warning,) = loaded(tmp_path, TEMPLATE).warnings
    assert (warning.level, warning.place) == ("warning", "[sinks.care] template")
    assert warning.wrong == "mail.jinja:2: undefined value: `event.state` is undefined"
    assert warning.hint.startswith("the built-in template is used instead for needs_resubmission, ")
    (tmp_path / "mail.jinja").write_text("{{ headline }}\n{{ (event.state | default({})).primary | default('none') }}")
    assert loaded(tmp_path, TEMPLATE).warnings == ()


@pytest.mark.parametrize(
    "link",
    ["https://erp.example/items/{reference_id}", "http://erp.example:8080/?sr={sr_uuid}#{message_id}", "https://erp.example"],
)
def test_a_link_may_stand_anywhere_below_its_host(link: str, tmp_path: Path) -> None:
    config = loaded(tmp_path, BASE.replace('type = "slack"\n', f'type = "slack"\nlink = "{link}"\n'))
    assert config.warnings == ()
