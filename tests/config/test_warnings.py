"""Warnings about configurations that work but are probably not meant: each appears where it should, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import load
from gateway.core.errors import Problem
from gateway.core.events import EVENT_TYPES, STATES, Milestone
from gateway.core.samples import SAMPLES
from gateway.core.vocabulary import FIELDS, OwnEvent
from gateway.host.environment import Environment
from tests.config.manual import EXAMPLE
from tests.support.webhooks import SECRET

SOURCE = '[sources.legitmark]\nsecrets = [{ env = "LEGITMARK_SECRET" }]\n'
SINK = '[sinks.archive]\ntype = "jsonl"\npath = "events.jsonl"\n'
ALL = '[[routes]]\nname = "all"\nsinks = ["archive"]\n'
VARIABLES = {"LEGITMARK_SECRET": SECRET, "TOKEN": "token-9Zk1", "WEBHOOK": "https://hooks.example.com/T0/B0/hook-5Wd3"}


def warnings(folder: Path, text: str) -> list[Problem]:
    file = folder / "gateway.toml"
    file.write_text(text)
    found = list(load(file, Environment(VARIABLES)).warnings)
    assert all(problem.level == "warning" for problem in found)
    return found


def said(folder: Path, text: str) -> list[tuple[str, str]]:
    return [(problem.place, problem.wrong) for problem in warnings(folder, text)]


def meant(problem: Problem) -> str:
    """Return the part of the line that the caret underlines."""
    assert problem.column is not None
    return problem.source[problem.column - 1 : problem.column - 1 + problem.width]


def routes(*tables: str) -> str:
    return (
        SOURCE + SINK + "".join(f'[[routes]]\nname = "{at}"\nsinks = ["archive"]\n{table}\n' for at, table in enumerate(tables))
    )


def test_the_example_has_none(tmp_path: Path) -> None:
    assert warnings(tmp_path, EXAMPLE.read_text()) == []


def test_without_a_route_every_message_goes_nowhere(tmp_path: Path) -> None:
    assert said(tmp_path, SOURCE) == [("[[routes]]", "there are no routes")]
    assert said(tmp_path, SOURCE + SINK) == [("[[routes]]", "there are no routes")]
    assert said(tmp_path, SOURCE + '[[routes]]\nname = "nobody, on purpose"\nsinks = []\n') == []


def test_a_sink_that_no_route_names_is_reported_at_its_header(tmp_path: Path) -> None:
    (found,) = warnings(tmp_path, SOURCE + SINK + '[sinks.spare]\ntype = "jsonl"\npath = "spare.jsonl"\n' + ALL)
    assert (found.place, found.wrong) == ("[sinks.spare]", "no route names this sink, so it receives nothing")
    assert (found.line, meant(found)) == (6, "sinks.spare")
    assert warnings(tmp_path, SOURCE + SINK + ALL + "fallback = true\n") == []


@pytest.mark.parametrize(
    ("keys", "warned"),
    [
        ("", False),
        ("breaker = { failures = 4 }", False),
        ("breaker = { failures = 5 }", True),
        ("breaker = { failures = 6 }", True),
        ('retry = ["0s", "5s", "5m"]', True),
        ('retry = ["0s", "5s", "5m", "5m"]', False),
        ('retry = ["0s"]\nbreaker = { failures = 1 }', True),
    ],
)
def test_a_breaker_that_opens_only_after_a_delivery_is_dead_is_reported(keys: str, warned: bool, tmp_path: Path) -> None:
    found = said(tmp_path, SOURCE + SINK + keys + "\n" + ALL)
    assert [place for place, _ in found] == ["[sinks.archive] breaker"] * warned


@pytest.mark.parametrize(
    ("security", "login", "warned"),
    [
        ("none", True, True),
        ("none", False, False),
        ("starttls", True, False),
        ("tls", True, False),
    ],
)
def test_a_password_sent_in_clear_is_reported(security: str, login: bool, warned: bool, tmp_path: Path) -> None:
    mail = f'[sinks.mail]\ntype = "email"\nhost = "smtp.example.internal"\nsecurity = "{security}"\nsender = "a@example.com"\n'
    keys = 'recipients = ["b@example.com"]\n' + 'username = "a"\npassword = { env = "TOKEN" }\n' * login
    found = said(tmp_path, SOURCE + mail + keys + '[[routes]]\nsinks = ["mail"]\n')
    assert [place for place, _ in found] == ["[sinks.mail] security"] * warned


# Secret files.


@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o604, True), (0o640, False), (0o600, False), (0o400, False)])
def test_a_world_readable_secret_file_is_reported(mode: int, warned: bool, tmp_path: Path) -> None:
    secret = tmp_path / "legitmark"
    secret.write_text(SECRET)
    secret.chmod(mode)
    found = warnings(
        tmp_path, '[sources.legitmark]\nsecrets = [{ env = "LEGITMARK_SECRET" }, { file = "legitmark" }]\n' + SINK + ALL
    )
    assert [problem.place for problem in found] == ["[sources.legitmark] secrets"] * warned
    for problem in found:
        assert meant(problem) == '{ file = "legitmark" }'
        assert (problem.wrong, problem.hint) == ("every user of this machine can read legitmark", "chmod o= legitmark")
        assert SECRET not in str(problem) + problem.source


def test_the_secret_files_of_sinks_and_of_the_admin_listener_count_too(tmp_path: Path) -> None:
    for name in ("admin", "erp", "header"):
        (tmp_path / name).write_text(SECRET)
        (tmp_path / name).chmod(0o644)
    text = (
        '[admin]\ntoken = { file = "admin" }\n'
        + SOURCE
        + '[sinks.erp]\ntype = "http"\non_stale = "annotate"\nurl = "https://erp.example.internal/"\nsecret = { file = "erp" }\n'
        + 'headers = { "x-key" = { file = "header" } }\n[[routes]]\nsinks = ["erp"]\n'
    )
    assert [place for place, _ in said(tmp_path, text)] == ["[admin] token", "[sinks.erp] secret", "[sinks.erp] headers.x-key"]


def test_a_secret_file_is_looked_at_without_its_content_where_no_secret_is_read(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('[sources.legitmark]\nsecrets = [{ file = "legitmark" }]\n' + SINK + ALL)
    assert load(file, Environment({}), secrets=False).warnings == ()
    (tmp_path / "legitmark").write_text("no key at all")
    (tmp_path / "legitmark").chmod(0o644)
    assert len(load(file, Environment({}), secrets=False).warnings) == 1


@pytest.mark.parametrize(("after", "noted"), [("59s", True), ("60s", False)])
def test_a_watch_shorter_than_the_wait_for_late_events_is_noted(tmp_path: Path, after: str, noted: bool) -> None:
    file = tmp_path / "gateway.toml"
    watch = f'[[watch]]\nname = "soon"\nstate = "QC/PENDING"\nafter = "{after}"\n'
    file.write_text('[sources.legitmark]\nsecrets = [{ env = "S" }]\n' + SINK + ALL + watch)
    found = [str(note) for note in load(file, Environment({}), secrets=False).notes]
    assert any("at the earliest" in note and "soon" in note for note in found) is noted


# Routes that say nothing.


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("", ""),
        ("", 'match = { milestone = "authentic" }'),
        ("", 'unless = { milestone = "authentic" }'),
        ("", 'source = "legitmark"'),
        ('source = "legitmark"', 'source = "legitmark"\nmatch = { milestone = "draft" }'),
        ('source = ["legitmark", "gateway"]', 'source = "legitmark"'),
        ('match = { milestone = "authentic" }', 'match = { milestone = "authentic" }'),
        (
            'match = { milestone = "authentic", sr_uuid = "a" }\nunless = { reference_id = "b" }',
            'unless = { reference_id = "b" }\nmatch = { sr_uuid = "a", milestone = "authentic" }',
        ),
    ],
)
def test_a_route_after_a_final_one_that_takes_its_events_can_never_apply(first: str, second: str, tmp_path: Path) -> None:
    (found,) = warnings(tmp_path, routes(first + "\nfinal = true", second))
    assert found.wrong.startswith('can never apply: "0" before it is final, and takes ')
    assert (found.place, meant(found)) == ('[[routes]] "1"', "routes")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('match = { milestone = "authentic" }\nfinal = true', ""),
        ('match = { milestone = "authentic" }\nfinal = true', 'match = { milestone = "counterfeit" }'),
        ('unless = { milestone = "authentic" }\nfinal = true', 'match = { milestone = "authentic" }'),
        ('source = "legitmark"\nfinal = true', 'source = ["legitmark", "gateway"]'),
        ('source = "legitmark"\nfinal = true', ""),
        ('match = { milestone = "authentic" }', "final = true"),
        ("fallback = true\nfinal = true", 'match = { milestone = "authentic" }'),
        ('match = { milestone = "authentic" }', 'match = { milestone = "authentic" }\nunless = { sr_uuid = "a" }'),
        ('match = { milestone = "authentic" }', 'match = { milestone = "authentic" }\nsource = "legitmark"'),
        ('match = { milestone = "authentic" }', 'match = { milestone = "authentic" }\nfallback = true'),
        ("match = { sr_uuid = { exists = true } }", "match = { sr_uuid = { exists = false } }"),
    ],
)
def test_routes_that_can_both_apply_get_no_warning(first: str, second: str, tmp_path: Path) -> None:
    assert warnings(tmp_path, routes(first, second)) == []


def test_two_routes_with_equal_patterns_are_reported_at_the_second(tmp_path: Path) -> None:
    same = 'match = { state = { primary = "COMPLETE", supplement = "REJECTED" }, event_type = "state_change" }'
    other = 'match = { event_type = "state_change", state = { supplement = "REJECTED", primary = "COMPLETE" } }'
    (found,) = warnings(tmp_path, routes(same, 'match = { milestone = "draft" }', other))
    assert (found.place, found.wrong) == ('[[routes]] "2" match', 'takes the same events as "0"')
    assert meant(found) == other.removeprefix("match = ")


def test_two_routes_that_both_take_everything_are_reported_at_the_second(tmp_path: Path) -> None:
    assert said(tmp_path, routes("", "")) == [('[[routes]] "1"', 'takes the same events as "0"')]


def test_a_fallback_after_a_route_that_takes_everything_can_never_apply(tmp_path: Path) -> None:
    (found,) = warnings(tmp_path, routes("fallback = true", ""))
    assert found.place == '[[routes]] "0"'
    assert found.wrong == 'can never apply: "1" matches every event, and this is a fallback'
    assert warnings(tmp_path, routes("fallback = true", 'source = "legitmark"')) == []
    assert warnings(tmp_path, routes("fallback = true", "fallback = true\nmatch = { milestone = 'draft' }")) == []


# Words that no documented event knows.


@pytest.mark.parametrize(
    ("pattern", "field", "hint"),
    [
        ('{ state = { primry = "QC" } }', "primry", 'did you mean "state.primary"?'),
        ('{ "state.primry" = "QC" }', '"state.primry"', 'did you mean "state.primary"?'),
        ('{ state.primry = "QC" }', "primry", 'did you mean "state.primary"?'),
        ("{ reference = { exists = true } }", "reference", 'did you mean "reference_id"?'),
        ('{ sides = { side = "Front", resaon = "BLURRY" } }', "resaon", 'did you mean "sides.reason"?'),
        ('{ sides = [{ side = "Front" }, { sied = "Label" }] }', "sied", 'did you mean "sides.side"?'),
        ('{ sides = { not = { sied = "Label" } } }', "sied", 'did you mean "sides.side"?'),
        ('{ milstone = "authentic" }', "milstone", 'did you mean "milestone"?'),
        ('{ "商品" = "鞄", event_type = "state_change" }', '"商品"', ""),
    ],
)
@pytest.mark.parametrize("key", ["match", "unless"])
def test_a_field_that_no_known_event_has_is_reported(key: str, pattern: str, field: str, hint: str, tmp_path: Path) -> None:
    (found,) = warnings(tmp_path, routes(f"{key} = {pattern}"))
    assert found.wrong == "no known event has this field"
    assert (meant(found), found.hint) == (field, hint)


@pytest.mark.parametrize(
    ("pattern", "value", "hint"),
    [
        ('{ state = { primary = "COMPLETED" } }', '"COMPLETED"', 'did you mean "COMPLETE"?'),
        ('{ "state.primary" = ["QC", "COMPLETED"] }', '"COMPLETED"', 'did you mean "COMPLETE"?'),
        ('{ "state.supplement" = { not = "APROVED" } }', '"APROVED"', 'did you mean "APPROVED"?'),
        ('{ "state.supplement" = { not = ["REJECTED", "APROVED"] } }', '"APROVED"', 'did you mean "APPROVED"?'),
        ('{ milestone = "counterfiet" }', '"counterfiet"', 'did you mean "counterfeit"?'),
        ("{ milestone = 5 }", "5", "known: authentic"),
        ('{ event_type = "state_chnge" }', '"state_chnge"', 'did you mean "state_change"?'),
        ('{ source = "legitmrk" }', '"legitmrk"', 'did you mean "legitmark"?'),
    ],
)
def test_a_value_that_no_documented_event_has_is_reported(pattern: str, value: str, hint: str, tmp_path: Path) -> None:
    (found,) = warnings(tmp_path, routes(f"match = {pattern}"))
    assert meant(found) == value
    assert found.hint.startswith(hint)


def test_a_pair_of_states_that_never_occurs_is_reported(tmp_path: Path) -> None:
    for pattern in (
        '{ state = { primary = "DRAFT", supplement = "APPROVED" } }',
        '{ "state.supplement" = "APPROVED", "state.primary" = "DRAFT" }',
        '{ state = [{ primary = "QC" }, { primary = "DRAFT", supplement = "APPROVED" }] }',
    ):
        (found,) = warnings(tmp_path, routes(f"match = {pattern}"))
        assert found.wrong == '"DRAFT" never comes with "APPROVED"'
        assert meant(found) == '"APPROVED"'


def test_states_of_different_tables_are_not_a_pair(tmp_path: Path) -> None:
    assert warnings(tmp_path, routes('match = { state = [{ primary = "DRAFT" }, { supplement = "APPROVED" }] }')) == []
    assert warnings(tmp_path, routes('match = [{ "state.primary" = "DRAFT" }, { "state.supplement" = "APPROVED" }]')) == []
    assert warnings(tmp_path, routes('match = { "state.primary" = "DRAFT", "state.supplement" = { not = "APPROVED" } }')) == []
    assert warnings(tmp_path, routes('match = { state = { not = { primary = "DRAFT", supplement = "APPROVED" } } }')) == []


def test_all_fields_and_values_of_documented_events_are_known(tmp_path: Path) -> None:
    tables = [f'match = {{ "{field}" = {{ exists = true }} }}' for field in sorted(FIELDS)]
    tables += [f'match = {{ milestone = "{milestone}" }}' for milestone in Milestone]
    tables += [f'match = {{ event_type = "{kind}" }}' for kind in OwnEvent]
    for primary, supplement in STATES:
        inner = f', supplement = "{supplement}"' if isinstance(supplement, str) else ""
        tables.append(f'match = {{ state = {{ primary = "{primary}"{inner} }} }}')
    tables.append('match = { state = { primary = "CANCELLED", supplement = "COMPLETE" } }')
    assert warnings(tmp_path, routes(*tables)) == []


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_field_of_a_sample_with_a_known_type_is_known(name: str, tmp_path: Path) -> None:
    kind = SAMPLES[name]["event_type"]
    pattern = ", ".join(f"{key} = {{ exists = true }}" for key in SAMPLES[name] if key != "event_type")
    found = warnings(tmp_path, routes(f'match = {{ event_type = "{kind}", {pattern} }}'))
    assert [meant(problem) for problem in found] == ([] if kind in EVENT_TYPES else [f'"{kind}"'])


def test_a_rule_for_a_new_event_type_gets_a_warning_about_the_type_only(tmp_path: Path) -> None:
    pattern = '{ event_type = "sr_archived", archived = { by = "partner" }, "state.primary" = "ARCHIVED" }'
    (found,) = warnings(tmp_path, routes(f"match = {pattern}"))
    assert meant(found) == '"sr_archived"'


@pytest.mark.parametrize(
    "pattern",
    [
        '{ milestone = { prefix = "qc_" } }',
        '{ "state.primary" = { ignore_case = "complete" } }',
        '{ event_type = { regex = "gateway\\\\..*" } }',
        '{ source = ["legitmark", "gateway"] }',
        '{ reference_id = ["anything", "at all"] }',
    ],
)
def test_operators_and_open_fields_are_not_judged(pattern: str, tmp_path: Path) -> None:
    assert warnings(tmp_path, routes(f"match = {pattern}")) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('match = { milestone = "authentic" }', 'match = [{ milestone = ["authentic"] }]'),
        ('match = { "state.primary" = "COMPLETE" }', 'match = { state = { primary = "COMPLETE" } }'),
        ('match = { milestone = ["authentic", "counterfeit"] }', 'match = { milestone = ["counterfeit", "authentic"] }'),
        (
            'match = [{ milestone = "draft" }, { reference_id = "A" }]',
            'match = [{ reference_id = "A" }, { milestone = "draft" }]',
        ),
    ],
)
def test_patterns_with_the_same_meaning_in_other_words_are_equal(first: str, second: str, tmp_path: Path) -> None:
    assert [message for _, message in said(tmp_path, routes(first, second))] == ['takes the same events as "0"']


@pytest.mark.parametrize(
    ("first", "second", "warned"),
    [
        ('match = { event_type = "state_change" }', 'match = { event_type = "state_change", milestone = "authentic" }', True),
        ('match = { milestone = ["draft", "authentic"] }', 'match = { milestone = "authentic" }', True),
        ('match = [{ milestone = "draft" }, { event_type = "state_change" }]', 'match = { milestone = "draft" }', True),
        ('match = { milestone = "authentic" }', 'match = { milestone = ["draft", "authentic"] }', False),
        ('match = { event_type = "state_change", milestone = "draft" }', 'match = { event_type = "state_change" }', False),
        ('match = { sides = { side = "Front", reason = "Glare" } }', 'match = { "sides.side" = "Front" }', False),
        ('match = { milestone = "draft" }\nunless = { reference_id = "A" }', 'match = { milestone = "draft" }', False),
    ],
)
def test_a_stricter_route_after_a_final_one_can_never_apply(first: str, second: str, warned: bool, tmp_path: Path) -> None:
    found = said(tmp_path, routes(f"{first}\nfinal = true", second))
    assert ["can never apply" in message for _, message in found] == [True] * warned


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ('{ reference_id = { prefx = "BAG-" } }', 'did you mean the operator "prefix"?'),
        ("{ milestone = { exsts = true } }", 'did you mean the operator "exists"?'),
        ('{ state = { primary = { ignorecase = "x" } } }', 'did you mean the operator "ignore_case"?'),
    ],
)
def test_a_misspelt_operator_gets_a_suggestion(pattern: str, hint: str, tmp_path: Path) -> None:
    (found,) = warnings(tmp_path, routes(f"match = {pattern}"))
    assert (found.wrong, found.hint) == ("no known event has this field", hint)


def test_a_misspelling_in_a_test_is_reported_but_a_new_name_is_not(tmp_path: Path) -> None:
    def of(event: str, more: str = "") -> list[str]:
        test = f'[[tests]]\nname = "t"\nevent = {event}\nsinks = ["archive"]\n{more}'
        return [problem.hint for problem in warnings(tmp_path, SOURCE + SINK + ALL + test)]

    assert of('{ event_type = "state_change", state = { primary = "COMPLTE" } }') == ['did you mean "COMPLETE"?']
    assert of('{ evnt_type = "state_change" }') == ['did you mean "event_type"?']
    assert of('{ event_type = "state_change" }', 'without = ["refrence_id"]') == ['did you mean "reference_id"?']
    assert of('{ event_type = "certificate_issued", certificate = { number = 1 } }') == []


def test_two_tests_with_the_same_name_are_reported_at_the_second(tmp_path: Path) -> None:
    test = '[[tests]]\nname = "t"\nevent = { event_type = "state_change" }\nsinks = ["archive"]\n'
    assert said(tmp_path, SOURCE + SINK + ALL + test + test) == [('[[tests]] "t" name', "another test already has this name")]


@pytest.mark.parametrize(
    ("pattern", "underlined", "wrong", "hint"),
    [
        ("{ stal = true }", "stal", "no known event has this field", 'did you mean "stale"?'),
        ('{ "state.befor" = "QC/PENDING" }', '"state.befor"', "no known event has this field", 'did you mean "state.before"?'),
        ('{ stale = "true" }', '"true"', "never matches: stale is true or false", ""),
        ("{ undated = 1 }", "1", "never matches: undated is true or false", ""),
        ('{ round = "2" }', '"2"', "never matches: round is a whole number", ""),
        (
            '{ terminal_regression = "reopend" }',
            '"reopend"',
            "no documented event has this value here",
            'did you mean "reopened"?',
        ),
        ('{ skipped = "QC/APROVED" }', '"QC/APROVED"', "no documented event has this value here", 'did you mean "QC/APPROVED"?'),
        (
            '{ state = { before = "QC/PENDIN" } }',
            '"QC/PENDIN"',
            "no documented event has this value here",
            'did you mean "QC/PENDING"?',
        ),
    ],
)
def test_a_condition_on_a_fact_that_never_holds_is_noticed(
    pattern: str, underlined: str, wrong: str, hint: str, tmp_path: Path
) -> None:
    (found,) = warnings(tmp_path, routes(f"match = {pattern}"))
    assert (meant(found), found.wrong, found.hint) == (underlined, wrong, hint)


def test_conditions_on_facts_that_can_hold_get_no_warning(tmp_path: Path) -> None:
    tables = ["{ stale = true, round = 2 }", "{ round = [1, 2.0] }", "{ round = { gte = 2 } }", "{ stale = { not = true } }"]
    tables += ['{ skipped = ["QC/PENDING", "QC/APPROVED"] }', '{ "state.before" = ["DRAFT", "CANCELLED", "QUEUE"] }']
    assert warnings(tmp_path, routes(*(f"match = {table}" for table in tables))) == []


ERP = '[sinks.erp]\ntype = "http"\nurl = "https://erp.example.internal/"\n'
TO_ERP = '[[routes]]\nname = "all"\nsinks = ["archive", "erp"]\n'


def test_an_http_sink_that_says_nothing_of_late_events_is_noticed(tmp_path: Path) -> None:
    (found,) = warnings(tmp_path, SOURCE + SINK + ERP + TO_ERP)
    assert found.place == "[sinks.erp] on_stale"
    assert found.wrong == "is missing, as is ordering: a late event may leave the receiver in an old state"
    assert meant(found) == "sinks.erp"


@pytest.mark.parametrize("line", ['ordering = "sr"', 'on_stale = "deliver"', 'on_stale = "annotate"', 'on_stale = "suppress"'])
def test_an_http_sink_with_an_order_or_with_on_stale_is_not_noticed(line: str, tmp_path: Path) -> None:
    assert warnings(tmp_path, SOURCE + SINK + f"{ERP}{line}\n" + TO_ERP) == []


def test_an_order_that_is_written_as_none_is_noticed_too(tmp_path: Path) -> None:
    assert said(tmp_path, SOURCE + SINK + f'{ERP}ordering = "none"\n' + TO_ERP)[0][0] == "[sinks.erp] on_stale"


DESK = '[sinks.desk]\ntype = "slack"\nwebhook_url = { env = "WEBHOOK" }\n'
_HALF = '[[routes]]\nname = "%s"\nmatch = { milestone = "%s" }\nsinks = ["desk"]\n%s\n'


@pytest.mark.parametrize("missing", ["qc_rejected", "needs_resubmission"])
def test_a_join_to_which_only_one_of_the_two_events_comes_is_noticed(missing: str, tmp_path: Path) -> None:
    (other,) = {"qc_rejected", "needs_resubmission"} - {missing}
    (found,) = warnings(tmp_path, SOURCE + DESK + _HALF % ("half", other, 'join = "30s"'))
    assert found.place == '[[routes]] "half" join'
    assert found.wrong == f"joins nothing: no route with join brings {missing} to desk"
    assert meant(found) == '"30s"'


def test_a_join_of_both_events_by_one_route_or_by_two_is_not_noticed(tmp_path: Path) -> None:
    both = _HALF.replace('"%s" }', '["qc_rejected", "needs_resubmission"] }') % ("both", 'join = "30s"')
    two = "".join(_HALF % (name, name, 'join = "30s"') for name in ("qc_rejected", "needs_resubmission"))
    for text in (both, two, '[[routes]]\nname = "all"\nsinks = ["desk"]\njoin = "10m"\n'):
        assert warnings(tmp_path, SOURCE + DESK + text) == []


def test_a_join_with_a_route_that_does_not_join_is_noticed(tmp_path: Path) -> None:
    text = _HALF % ("one", "qc_rejected", 'join = "30s"') + _HALF % ("two", "needs_resubmission", "")
    assert [place for place, _ in said(tmp_path, SOURCE + DESK + text)] == ['[[routes]] "one" join']
