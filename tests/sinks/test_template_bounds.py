"""No template can abort the process, and none lets a payload add markup: each is tried in a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from minijinja import Environment

from gateway.host.clock import Clock
from gateway.sinks.email.mail import TEMPLATES as MAIL
from gateway.sinks.slack.posts import TEMPLATES as SLACK
from gateway.sinks.text.language import Language, tell
from gateway.sinks.text.template_language import MOST_TOKENS, ForbiddenTemplate, bounded
from gateway.sinks.text.template_words import BOUNDED_FILTERS, METHODS, NATIVE_FILTERS
from gateway.sinks.text.templates import Rendered, Template, TemplateKind, TemplateProblem, escape_slack
from tests.fakes import FakeClock
from tests.sinks.sending import outgoing

_CHILD = """
import json, resource, sys
from pathlib import Path
from gateway.core.samples import SAMPLES
from gateway.sinks.text.language import Language, tell
from gateway.sinks.slack.posts import TEMPLATES as SLACK
from gateway.sinks.text.templates import Template, TemplateProblem
from tests.sinks.sending import outgoing
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
file = Path(sys.argv[1])
delivery = outgoing(json.dumps(SAMPLES["authentic"]).encode())
for source in json.load(sys.stdin):
    print(json.dumps(source[:200]), flush=True)
    file.write_text(source)
    try:
        Template(SLACK, "en", str(file)).render(delivery, tell(delivery, Language(), None))
    except TemplateProblem:
        pass
print("all done")
"""
_NUMBERS = ["9223372036854775807", "-9223372036854775808", "99999999999", "-1", "0", "1e308", "1.5", "none", "'x'", "[]", "{}"]
_VALUES = ["'a b'", "'%99999999999d'", "'%.99999999999f'", "[1, 2]", "{'a': 1}", "1", "1.5", "none", "true", "item", "event"]


def survive(sources: list[str], folder: Path) -> None:
    """Load and render each template in one child process. If one aborts it, the last line names that template."""
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, str(folder / "t")], input=json.dumps(sources), capture_output=True, text=True, timeout=120
    )
    assert child.returncode == 0, (child.returncode, child.stdout[-300:], child.stderr[-300:])
    assert child.stdout.endswith("all done\n")


def test_no_filter_ends_the_process_for_any_argument(tmp_path: Path) -> None:
    names = sorted(NATIVE_FILTERS | BOUNDED_FILTERS)
    calls = [f"{{{{ {value}|{name} }}}}" for name, value in product(names, _VALUES)]
    calls += [f"{{{{ {value}|{name}({number}) }}}}" for name, value, number in product(names, _VALUES[:6], _NUMBERS)]
    calls += [f"{{{{ {value}|{name}({number}, 'x') }}}}" for name, value, number in product(names, _VALUES[:4], _NUMBERS[:4])]
    calls += [f"{{{{ [1]|map('{name}', {number}) }}}}" for name, number in product(names, _NUMBERS[:4])]
    calls += [f"{{{{ [1]|{name}(indent={number}) }}}}" for name, number in product(("tojson", "pprint"), _NUMBERS)]
    survive(calls, tmp_path)


def test_no_operator_function_or_method_ends_the_process(tmp_path: Path) -> None:
    signs = ["*", "**", "+", "-", "/", "//", "%", "~", "in", "==", "<"]
    calls = [f"{{{{ {left} {sign} {right} }}}}" for left, sign, right in product([*_VALUES, *_NUMBERS], signs, _NUMBERS)]
    calls += [f"{{{{ range({one}, {two}, {three}) }}}}" for one, two, three in product(_NUMBERS, _NUMBERS[:5], _NUMBERS[:5])]
    calls += [f"{{{{ {value}.{name}({number}) }}}}" for value, name, number in product(_VALUES[:4], METHODS, _NUMBERS[:5])]
    calls += [f"{{{{ 'abc'[{one}:{two}:{three}] }}}}" for one, two, three in product(_NUMBERS[:5], _NUMBERS[:5], _NUMBERS[:5])]
    survive(calls, tmp_path)


_DOUBLED = "{% set x = 'xxxxxxxx' %}"


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a'|indent(9223372036854775807) }}",
        "{{ 'x' * 99999999999 }}",
        "{{ 99999999999 * 'x' }}",
        "{{ ([1] * 400000000)|length }}",
        f"{{{{ {' ~ '.join(['(item * 100000)'] * 60)} }}}}",
        _DOUBLED + "{% set x = x ~ x %}" * 45,
        _DOUBLED + "{% set x = x + x %}" * 45 + "{{ x }}",
        _DOUBLED + "{% set x = [x, x] %}" * 45 + "{{ x }}",
        _DOUBLED + "{% set x = {'a': x, 'b': x} %}" * 45 + "{{ x|tojson }}",
        _DOUBLED + "{% set x = x|replace('x', x) %}" * 10,
        _DOUBLED + "{% set x = x|join(x) %}" * 10,
        _DOUBLED + "{% set x %}{{ x }}{{ x }}{% endset %}" * 45,
        _DOUBLED + "{% for x in [x ~ x] %}" * 45 + "{% endfor %}" * 45,
        _DOUBLED + "{% with x = x ~ x %}" * 45 + "{% endwith %}" * 45,
        "{% set ns = namespace(x=[]) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
        "{{ 1" + "+1" * 30000 + " }}",
        "{{ " + "-" * 60000 + "1 }}",
        "{{ " + "(" * 30000 + "1" + ")" * 30000 + " }}",
        "{{ " + "[" * 120 + "]" * 120 + " }}",
        "{% if 1 %}" + "{% elif 1 %}" * 5000 + "{% endif %}",
        "{% if 1 %}" + "{% elif 1 %}" * 900 + "{% endif %}",
        "{% if 1 %}" * 400 + "{% endif %}" * 400,
        "{% block text %}{{ self.text() }}{% endblock %}",
        "{% block text %}{{ self.text() }}{{ self.text() }}{% endblock %}",
        "{% for i in range(99999) %}" + "x" * 60000 + "{% endfor %}",
        "{% set y %}{% for i in range(9999) %}{% for j in range(99) %}" + "x" * 60000 + "{% endfor %}{% endfor %}{% endset %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% raw %}{{ 'x'|indent(9223372036854775807) }}{% endraw %}{{ 'x'|indent(9223372036854775807) }}",
        "{{ '" + chr(0) + "' }}{# ",
        "{{ " + "'' ~ [" * 40 + "'\\\\'" + "]" * 40 + " }}",
        "{{ " + "{'a': " * 40 + "'\\\\'" + "}|string" * 40 + " }}",
        "{{ " + "'' ~ dict(a=" * 30 + "'\\\\'" + ")" * 30 + " }}",
        "{{ " + "'' ~ (1, " * 30 + "'\\\\'" + ")" * 30 + " }}",
        "{{ 'abc'" + "|list|string" * 60 + " }}",
        "{{ 'a b'" + "|split|upper" * 60 + " }}",
        "{{ ([1] * 50000)" + "|zip([1] * 50000)" * 20 + " }}",
        "{% set x = '\U0001f600' * 999999 %}{{ " + " ~ ".join(["x"] * 120) + " }}",
        "{% set x = '\U0001f600' * 200000 %}{{ " + " ~ ".join(["x"] * 40) + " }}",
        "{% for i in [1] %}{{ loop.cycle() }}{% endfor %}",
        "{% for i in range(50000) %}{% if i in [1] * 50000 %}{% endif %}{% endfor %}",
    ],
    ids=range(41),
)
def test_no_template_ends_the_process(source: str, tmp_path: Path) -> None:
    survive([source], tmp_path)


class _Running(FakeClock):
    """A clock that moves on by a millisecond at each look."""

    def monotonic(self) -> float:
        self.advance(0.001)
        return self.passed


def test_a_rendering_ends_when_its_time_is_over(tmp_path: Path) -> None:
    payload = {"event_type": "t", "x": list(range(2000))}
    source = "{% for i in range(20000) %}{% if -1 in event.x %}{% endif %}{% endfor %}"
    assert "takes longer than 1 s" in _rendered(tmp_path, SLACK, source, payload, _Running()).failed


def test_an_event_that_is_too_large_is_not_given_to_the_template(tmp_path: Path) -> None:
    payload = {"event_type": "t", "x": "x" * 1024 * 1024}
    assert "larger than 1 MiB" in _rendered(tmp_path, SLACK, "{{ event.event_type }}", payload).failed
    assert _rendered(tmp_path, SLACK, "{{ headline }}", payload).failed == ""


def test_a_fault_inside_the_engine_costs_only_the_template(tmp_path: Path) -> None:
    (file := tmp_path / "t").write_text("{{ headline }}")
    template = Template(SLACK, "en", str(file))
    template._environments = {escape_slack: Environment(templates={"text": "{% for i in [1] %}{{ loop.cycle() }}{% endfor %}"})}
    delivery = outgoing(json.dumps({"event_type": "t"}).encode())
    said = template.render(delivery, tell(delivery, Language(), None))
    assert said.parts["text"] and "the template engine failed" in said.failed


def test_every_filter_of_this_minijinja_is_known_or_refused() -> None:
    said = Environment().render_str("{{ debug() }}")
    there = set(re.findall(r'"(\w+)"', said[said.index("filters: [") : said.index("templates: [")]))
    assert there >= NATIVE_FILTERS and len(there) > 40
    for name in there - NATIVE_FILTERS - BOUNDED_FILTERS:
        with pytest.raises(ForbiddenTemplate, match=f'no filter "{name}"'):
            bounded(f"{{{{ x|{name} }}}}")


@pytest.mark.parametrize(
    ("source", "after"),
    [
        ("{{ a * b }}", "{{ product( a, b) }}"),
        ("{{ 2 + a.b[0]|length * 3 - 1 }}", "{{ 2 + product( a.b[0]|length, 3) - 1 }}"),
        ("{{ a / b * c }}", "{{ product( a / b, c) }}"),
        ("{% set x = a.b %}", "{% set x = a.b %}"),
        ("{%- set x = a ~ b -%}", "{%- set x = ( a ~ b)|within -%}"),
        (
            "{% for k, v in m.items() if k %}\nab{% endfor %}",
            "{% for k, v in ( m.items())|within(3) if k %}{% set _ = tick() %}\nab{% endfor %}",
        ),
        ("{{ a|string|first ~ [b, c] }}", "{{ a|string|within|first ~ [b, c] }}"),
        ("{{ [a ~ b, dict(c=a|list)] }}", "{{( [a ~ b,( dict(c=a|list|within)|within)]|within) }}"),
        ("{{ {'a': {}} }}{# {{ x|pprint }} #}", "{{ {'a': {}} }}{# {{ x|pprint }} #}"),
    ],
)
def test_only_expressions_that_can_grow_are_rewritten(source: str, after: str) -> None:
    assert re.sub(r"\s+", " ", bounded(source)) == re.sub(r"\s+", " ", after)


def test_a_tag_that_is_too_long_is_refused() -> None:
    assert bounded("{{ " + "+".join("1" * (MOST_TOKENS // 2)) + " }}")
    with pytest.raises(ForbiddenTemplate, match="split it"):
        bounded("\n{{ " + "+".join("1" * MOST_TOKENS) + " }}")


_HOSTILE = ["<!channel>", "<@U012AB3CD>", "<script>alert(1)</script>", "<https://evil.example|x>"]
_payloads = st.recursive(
    st.sampled_from(_HOSTILE) | st.none() | st.booleans() | st.integers(-5, 5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_HOSTILE), inner, max_size=3),
    max_leaves=6,
)
_WAYS = [
    "{{ event.x }}",
    "{{ [event.x] }}",
    "{{ {'k': event.x} }}",
    "{{ event }}",
    "{{ event.x ~ '' }}",
    "{{ 'a' ~ event.x ~ event.y }}",
    "{{ event.x|string }}",
    "{{ event.x|tojson }}",
    "{{ event.x|list }}",
    "{{ [event.x, event.y]|join(' ') }}",
    "{{ event|dictsort }}",
    "{{ [event.x]|map('string')|join }}",
    "{{ event.x|string|upper|lower }}",
    "{{ event.x|escape }}",
    "{{ event.x|e|striptags }}",
    "{{ event.x|string|replace('a', 'b') }}",
    "{{ '%s'|format(event.x) }}",
    "{{ event.x|string|indent(2) }}",
    "{{ event.x|string * 2 }}",
    "{{ event.x|string|reverse|reverse }}",
    "{{ event.x|string|title }}",
    "{{ event.x|e|replace('&lt;', '<') }}",
    "{% for k in event %}{{ k }}{{ event[k] }}{% endfor %}",
    "{% for k, v in event.items() %}{{ (k, v) }}{% endfor %}",
    "{% set y = event.x ~ event.y %}{{ y }}",
    "{% set y %}{{ event.x }}{% endset %}{{ y }}{{ y|string }}{{ [y] }}{{ y ~ event.x }}",
    "{{ event.x|default(event.y, true) }}",
    "{{ event.x if event.x else event.y }}",
    "{{ [event.x, event.y]|batch(1) }}",
    "{{ [event.x]|slice(2) }}",
    "{{ event.items()|list }}",
    "{{ event.x|string|wordwrap(5) }}",
    "{{ (event.x|string)[0:] }}",
]


def _rendered(folder: Path, kind: TemplateKind, source: str, payload: dict[str, Any], clock: Clock | None = None) -> Rendered:
    file = folder / f"{kind.file}.jinja"
    file.write_text(source)
    delivery = outgoing(json.dumps(payload).encode())
    return Template(kind, "en", str(file), clock).render(delivery, tell(delivery, Language(), None))


@given(x=_payloads, y=_payloads, ways=st.lists(st.sampled_from(_WAYS), min_size=1, max_size=4))
def test_no_expression_lets_a_payload_add_markup(
    tmp_path_factory: pytest.TempPathFactory, x: Any, y: Any, ways: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("own")
    payload = {"event_type": "t", "x": x, "y": y, "<!here>": "<b>"}
    text = _rendered(folder, SLACK, "".join(ways), payload).parts["text"]
    assert "<" not in text and ">" not in text
    page = _rendered(folder, MAIL, "{% block html %}" + "".join(ways) + "{% endblock %}", payload)
    if not page.failed:
        assert "<" not in page.parts["html"]


@pytest.mark.parametrize(
    "source", ["<{{ event.u }}|x>", "<{{- event.u }}>", "<!{{ event.u }}>", "a\n<{% if item %}{{ item }}{% endif %}>"]
)
def test_no_payload_begins_the_markup_of_slack(source: str, tmp_path: Path) -> None:
    with pytest.raises(TemplateProblem, match="could ping everybody; write how the link begins: <https://"):
        _rendered(tmp_path, SLACK, source, {"event_type": "t", "u": "!channel"})


@pytest.mark.parametrize("source", ["<{{ link }}|open>", "<https://example.com/{{ event.u }}|x>", "<!here> {{ event.u }}"])
def test_an_operators_own_markup_of_slack_counts(source: str, tmp_path: Path) -> None:
    said = _rendered(tmp_path, SLACK, source, {"event_type": "t", "u": "!channel"})
    assert said.failed == "" and said.parts["text"].startswith("<")


@pytest.mark.parametrize("value", ["<!channel>", ["<!channel>"], {"<!channel>": 1}, [{"a": ["<@U1>"]}]])
def test_a_value_of_any_type_is_escaped_for_slack_and_in_html(value: Any, tmp_path: Path) -> None:
    payload = {"event_type": "t", "certificate": value}
    said = _rendered(tmp_path, SLACK, "{{ event.certificate }}", payload)
    assert said.failed == "" and re.search("&lt;[!@]", said.parts["text"]) and "<" not in said.parts["text"]
    page = _rendered(tmp_path, MAIL, "{% block html %}{{ event.certificate }}{% endblock %}", payload)
    assert page.failed == "" and "&lt;" in page.parts["html"] and "<" not in page.parts["html"]
