"""`gateway test`: runs the [[tests]] of a configuration against its routes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from xml.etree import ElementTree

from cyclopts import Parameter
from msgspec import Struct

from gateway.cli.errors import Unwritable, complain
from gateway.cli.explain import Explainer, Spot, Verdict
from gateway.cli.options import ConfigOption, JsonOption
from gateway.cli.output import console, printable, to_json
from gateway.config import Config, find, load
from gateway.config.settings import Rule, TestSettings
from gateway.core import events, samples
from gateway.core.errors import ConfigError, Problem
from gateway.core.routing import Decision
from gateway.host.environment import Environment


class Result(Struct, frozen=True):
    """The result of one test."""

    settings: TestSettings
    spot: Spot
    decision: Decision
    lines: tuple[str, ...]
    """The expectation, the result, and the routes that are responsible; empty if the test passed."""

    @property
    def passed(self) -> bool:
        return not self.lines

    @property
    def name(self) -> str:
        return printable(self.settings.name)


class Report(Struct, frozen=True):
    """The results of the tests of one configuration."""

    config: Config
    results: tuple[Result, ...]
    unreached: tuple[tuple[Rule, Spot], ...]
    """Routes that no test's event takes."""


def test(
    *files: Path,
    config: ConfigOption = None,
    junit: Annotated[Path | None, Parameter(help="Also write the results to this file, as JUnit XML.")] = None,
    json_: JsonOption = False,
) -> int:
    """Run the [[tests]] of a configuration: check that each event takes the expected routes. Send nothing, read no secret.

    Exit codes: 0 all passed, 1 at least one failed, 78 the configuration has errors.

    Example: gateway test gateway.toml --junit results.xml

    Parameters
    ----------
    files
        The configuration files; default: the one of --config.
    """
    reports = [_run(loaded) for loaded in _loaded(files or (config,))]
    results = [result for report in reports for result in report.results]
    if junit is not None:
        try:
            junit.write_bytes(_junit(reports))
        except OSError as error:
            raise Unwritable(f"--junit {junit} can't be written: {error.strerror}") from None
    if json_:
        print(to_json(_document(reports)))
    else:
        _print(reports, results)
    return 0 if all(result.passed for result in results) else 1


def _loaded(files: Sequence[Path | None]) -> list[Config]:
    """Load all files. Raises ConfigError with the problems of all of them."""
    environment = Environment.of_process()
    found: list[Config] = []
    problems: list[Problem] = []
    for file in files:
        try:
            found.append(load(find(file, environment), environment, secrets=False))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(", ".join(str(file) for file in files), problems)
    complain(problem for config in found for problem in config.warnings)
    return found


def _run(config: Config) -> Report:
    explainer = Explainer(config)
    results = []
    for test in config.tests:
        event = events.event_of(samples.filled(test.settings.event, test.settings.without))
        source = test.settings.source or next(iter(config.sources))
        facts = test.settings.facts.facts() if test.settings.facts is not None else None
        decision = explainer.router.route(event, source, facts)
        lines = _differences(test.settings, decision, explainer.explain(event, source, facts))
        results.append(Result(test.settings, explainer.spot(test.place), decision, tuple(lines)))
    reached = {name for result in results for name in result.decision.routes}
    unreached = tuple((rule, explainer.spot(rule.place)) for rule in config.rules if rule.route.name not in reached)
    return Report(config, tuple(results), unreached)


def _differences(expected: TestSettings, came: Decision, verdicts: Sequence[Verdict]) -> list[str]:
    """Return the expectation and the result; then, for each sink or route that differs, the route that is responsible."""
    lines: list[str] = []
    for word, wanted, got in (("sinks", expected.sinks, came.sinks), ("routes", expected.routes, came.routes)):
        if wanted is not None and set(wanted) != set(got):
            lines += [f"expected {word:6}  {_listed(wanted, word)}", f"came     {word:6}  {_listed(got, word)}"]
    forbidden = set(expected.not_sinks or []) & set(came.sinks)
    if forbidden:
        not_sinks = _listed(expected.not_sinks or [], "sinks")
        lines += [f"expected none of  {not_sinks}", f"came     sinks   {_listed(came.sinks, 'sinks')}"]
    sinks = set(came.sinks if expected.sinks is None else expected.sinks)
    responsible: set[str] = set()
    for sink in sorted(sinks - set(came.sinks)):
        naming = [verdict for verdict in verdicts if sink in verdict.rule.route.sinks]
        lines += [f"{sink} is missing: {_did(verdict)}" for verdict in naming] or [f"{sink} is missing: no route names it"]
        responsible |= {verdict.trace.name for verdict in naming}
    for sink in sorted(set(came.sinks) - sinks | forbidden):
        naming = [verdict for verdict in verdicts if verdict.trace.matched and sink in verdict.rule.route.sinks]
        lines += [f"{sink} is not expected: {_did(verdict)}" for verdict in naming]
        responsible |= {verdict.trace.name for verdict in naming}
    if expected.routes is not None:
        wrong = set(expected.routes) ^ set(came.routes)
        lines += [_did(verdict) for verdict in verdicts if verdict.trace.name in wrong - responsible]
    return lines


def _did(verdict: Verdict) -> str:
    if verdict.trace.matched:
        return f'"{verdict.name}" applied  {verdict.spot.of_line}'
    return f'"{verdict.name}" did not apply: {verdict.why_not}  {verdict.failed}'


def _listed(names: Sequence[str], word: str) -> str:
    return printable(", ".join(names)) or ("nobody" if word == "sinks" else "none")


def _print(reports: Sequence[Report], results: Sequence[Result]) -> None:
    from rich.cells import cell_len
    from rich.text import Text

    out = console()
    width = max((cell_len(result.name) for result in results), default=0)
    for result in results:
        verdict = ("PASS", "bold green") if result.passed else ("FAIL", "bold red")
        name = (f"  {result.name}{' ' * (width - cell_len(result.name))}", "" if result.passed else "bold")
        out.print(Text.assemble(verdict, name, (f"  {result.spot.of_line}", "cyan")))
        for line in result.lines:
            out.print(Text(f"      {line}", "yellow"))
    unreached = [pair for report in reports for pair in report.unreached]
    for rule, spot in unreached:
        said = printable(f'no test reaches "{rule.route.name}"')
        out.print(Text.assemble((said, "yellow"), (f"  {spot.of_line}", "cyan")))
    failed = sum(not result.passed for result in results)
    routes = sum(len(report.config.rules) for report in reports)
    summary = f"{len(results) - failed} passed, {failed} failed; tests reach {routes - len(unreached)} of {routes} routes"
    if not results:
        summary = "there is no test; write one beside the routes: [[tests]]"
    out.print(Text(summary, "bold red" if failed else "bold green" if results else "yellow"))


def _document(reports: Sequence[Report]) -> dict[str, Any]:
    tests = [
        {
            "name": result.settings.name,
            "file": str(result.spot.file),
            "line": result.spot.line,
            "passed": result.passed,
            "expected": {
                key: wanted for key in ("sinks", "routes", "not_sinks") if (wanted := getattr(result.settings, key)) is not None
            },
            "actual": {"sinks": result.decision.sinks, "routes": result.decision.routes},
            "reasons": result.lines,
        }
        for report in reports
        for result in report.results
    ]
    unreached = [
        {"name": rule.route.name, "file": str(spot.file), "line": spot.line}
        for report in reports
        for rule, spot in report.unreached
    ]
    return {"ok": all(test["passed"] for test in tests), "tests": tests, "unreached": unreached}


def _junit(reports: Sequence[Report]) -> bytes:
    """Return JUnit XML with a suite for each configuration. XML 1.0 allows no control characters, so all text is `printable`."""
    root = ElementTree.Element("testsuites", name="gateway test")
    for report in reports:
        failures = sum(not result.passed for result in report.results)
        counts = {"tests": str(len(report.results)), "failures": str(failures), "errors": "0", "skipped": "0"}
        suite = ElementTree.SubElement(root, "testsuite", {"name": printable(str(report.config.file)), **counts})
        for result in report.results:
            file, line = result.spot.of_line.rpartition(":")[::2]
            place = {"classname": file, "file": file, "line": line, "time": "0"}
            case = ElementTree.SubElement(suite, "testcase", {"name": result.name, **place})
            if not result.passed:
                message = "; ".join(" ".join(line.split()) for line in result.lines[:2])
                ElementTree.SubElement(case, "failure", message=message, type="route").text = "\n".join(result.lines)
        if report.unreached:
            said = [f'no test reaches "{rule.route.name}"  {spot.of_line}' for rule, spot in report.unreached]
            ElementTree.SubElement(suite, "system-out").text = "\n".join(map(printable, said))
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))
