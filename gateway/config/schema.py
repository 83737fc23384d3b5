"""The JSON Schema of `gateway.toml`, by which an editor completes keys, explains them, and underlines mistakes.

Made from the structs, and described by `gateway.toml.example`, so that neither is said twice: `make schema` writes it. It helps
while one types; `gateway check` is the judge, and refuses more. Draft 7, the newest that taplo (Even Better TOML) reads.
"""

from __future__ import annotations

import json
import re
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo

from gateway.config.settings import (
    AdminSettings,
    AdminUserSettings,
    AuditSettings,
    DefaultsSettings,
    NodeSettings,
    ReconcileSettings,
    RouteSettings,
    ServerSettings,
    SourceSettings,
    StoreSettings,
    TestSettings,
    WatchSettings,
)
from gateway.core.events import IDENTITY
from gateway.core.fact_fields import FACT_FIELDS
from gateway.core.patterns import OPERATORS
from gateway.core.routing import DERIVED_FIELDS, GATEWAY, RECONCILE
from gateway.core.secrets import SecretRef
from gateway.core.values import Duration, Rate, Size
from gateway.core.vocabulary import FIELDS, VALUES
from gateway.sinks import SINK_TYPES

FILE = Path(__file__).with_name("gateway.schema.json")
"""The file next to this module, so that an installed gateway has it too. `config/` in the repository links to it."""

Schema = dict[str, Any]

_TABLES: dict[str, tuple[type[Struct], str]] = {
    "server": (ServerSettings, "The listener for webhooks."),
    "admin": (AdminSettings, "The listener for health, metrics and the API that the commands use."),
    "store": (StoreSettings, "The database: messages, and what is still owed to whom."),
    "node": (NodeSettings, "This gateway, as one of several that share a PostgreSQL."),
    "defaults": (DefaultsSettings, "Defaults for the sinks whose messages people read."),
    "reconcile": (ReconcileSettings, "Legitmark's API, which is asked for the present state of service requests."),
    "audit": (AuditSettings, "The audit log: one JSON object per line for all that happens to a message."),
}
_UNITS: dict[type, str] = {
    Duration: r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w))+$",
    Size: r"^[0-9]{1,12} ?(B|kB|MB|GB|KiB|MiB|GiB)$",
    Rate: r"^[0-9]{1,9}(\.[0-9]{1,6})?/[smh]$",
}
_PATH = r"^[^.]+(\.[^.]+)*$"
_NAME = r"^[a-z][a-z0-9_-]{0,47}$"
_ADDRESS = r"^(unix:.+|fd:.+|(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+):[0-9]{1,5})$"
_STATE: Schema = {"type": "string", "pattern": r"^[^/]+(/[^/]+)?$"}
_CLOSER: dict[tuple[str, str], Schema] = {
    ("server", "listen"): {"minItems": 1, "items": {"type": "string", "pattern": _ADDRESS}},
    ("admin", "listen"): {"minItems": 1, "items": {"type": "string", "pattern": _ADDRESS}},
    ("store", "schema"): {"pattern": "^[a-z_][a-z0-9_]{0,62}$"},
    ("node", "name"): {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"},
    ("reconcile", "url"): {"pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"},
    ("reconcile", "proxy"): {"pattern": "^[Hh][Tt][Tt][Pp]://[^@]*$"},
    ("reconcile", "most"): {"minimum": 1, "maximum": 20000},
    ("sources", "allow_from"): {"minItems": 1},
    ("sources", "path"): {"pattern": r'^/[!"$&->@-~]*$'},
    ("sinks", "retry"): {"minItems": 1},
    ("sinks", "concurrency"): {"minimum": 1, "maximum": 256},
    ("breaker", "failures"): {"minimum": 1},
    ("watch", "state"): {"anyOf": [_STATE, {"type": "array", "minItems": 1, "items": _STATE}]},
}
"""The rules of `checks` about values beyond their types, as far as a schema can state them. Those about the keys of one sink type
stand in its `SinkType.schema`."""
_UNUSABLE = {("sources", "secrets")}
"""Keys whose default is refused unless another key permits it."""


def schema(manual: str) -> Schema:
    """The schema as a JSON document.

    Args:
        manual: the text of `gateway.toml.example`.
    Raises:
        LookupError: it does not explain a key.
    """
    says = _Manual(manual)
    sources = _table(SourceSettings, "sources", "sources.legitmark", says)
    sources["properties"]["identity"] |= _identity()
    tests = _table(TestSettings, "tests", "tests", says)
    tables = {name: _table(kind, name, name, says) | {"description": said} for name, (kind, said) in _TABLES.items()}
    user = _table(AdminUserSettings, "users", "admin.users.suzuki", says)
    tables["admin"]["properties"]["users"] |= {"additionalProperties": user | {"description": "A user of the admin listener."}}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "gateway.toml",
        "description": "The configuration of legitmark-gateway, or a file that it includes.",
        "type": "object",
        "properties": {
            "include": {"description": says.key("", "include"), "type": "array", "items": {"type": "string"}},
            **tables,
            "sources": {
                "description": "The places that webhooks come from, by their names.",
                "type": "object",
                "propertyNames": {"pattern": _NAME, "not": {"enum": [GATEWAY, RECONCILE]}},
                "additionalProperties": sources | {"description": "A place that webhooks come from."},
            },
            "sinks": {
                "description": "The places that events go to, by their names.",
                "type": "object",
                "propertyNames": {"pattern": _NAME},
                "additionalProperties": {"$ref": "#/definitions/sink"},
            },
            "routes": {
                "description": "Which event goes to which sinks. Every route that fits applies.",
                "type": "array",
                "items": _table(RouteSettings, "routes", "routes", says) | {"description": "A rule: a pattern, and sinks."},
            },
            "tests": {
                "description": "Expectations about the routes; `gateway test` runs them.",
                "type": "array",
                "items": tests | {"description": "An event, and where it has to go."},
            },
            "watch": {
                "description": "How long a service request may stay in a state before people are told.",
                "type": "array",
                "items": _table(WatchSettings, "watch", "watch", says) | {"description": "A rule: a state, and a time."},
            },
        },
        # No table is required: a file that is included has routes, sinks and tests alone.
        "additionalProperties": False,
        "definitions": {**_sinks(says), **_patterns(says)},
    }


def _table(
    kind: type[Struct], section: str, table: str, says: _Manual, rules: Mapping[str, Mapping[str, Any]] | None = None
) -> Schema:
    """Return a struct as an object.

    Args:
        table: the table of the example that shows the struct.
        rules: what a value has to be beyond its type, by key; it comes before `_CLOSER`.
    """
    fields = msgspec.structs.fields(kind)
    closer = {field.name: {**_CLOSER.get((section, field.name), {}), **(rules or {}).get(field.name, {})} for field in fields}
    return {
        "type": "object",
        "properties": {field.name: _key(field, section, table, says, closer[field.name]) for field in fields},
        "required": [field.name for field in fields if field.required or _refuses_default(field, closer[field.name])],
        "additionalProperties": False,
    }


def _sinks(says: _Manual) -> dict[str, Schema]:
    """A definition for each type, and `sink`, which chooses among them by `type`, so that an error points at the wrong key.

    `sink` has the keys of all types itself, since editors complete what they see without choosing.
    """
    tables = {name: _table(kind.config, "sinks", says.sink(name), says, kind.schema) for name, kind in SINK_TYPES.items()}
    kind = {"description": says.key(says.sink(next(iter(tables))), "type"), "type": "string", "enum": list(tables)}
    keys: Schema = {}
    for name, table in tables.items():
        for key, value in table["properties"].items():
            same = keys.setdefault(key, value) == value
            keys[key] = keys[key] if same else {part: keys[key][part] for part in keys[key] if part != "default"}
        table["description"] = f"A sink of the type {name}."
        table["properties"] = {"type": kind, **table["properties"]}
    chosen = [
        {
            "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
            "then": {"$ref": f"#/definitions/{name}"},
        }
        for name in tables
    ]
    sink = {"description": "A place that events go to.", "type": "object", "properties": {"type": kind, **keys}}
    return {"sink": sink | {"required": ["type"], "allOf": chosen}, **tables}


def _key(field: FieldInfo, section: str, table: str, says: _Manual, closer: Schema) -> Schema:
    text = says.key(table, field.name)
    found = {"description": text, **_value(field.type, field.name, text, says), **closer}
    default, unusable = _default(field), _refuses_default(field, closer) or (section, field.name) in _UNUSABLE
    if default is not NODEFAULT and default is not None and not unusable:
        found["default"] = _written(default)
    return found


def _default(field: FieldInfo) -> Any:
    return field.default_factory() if field.default_factory is not NODEFAULT else field.default


def _refuses_default(field: FieldInfo, closer: Schema) -> bool:
    """Return True if a key has to be written, because its default is a list that is too short."""
    default = _default(field)
    return isinstance(default, list) and len(default) < closer.get("minItems", 0)


def _value(kind: Any, name: str, text: str, says: _Manual) -> Schema:
    """Return the schema of a value. `text` is its description, which the keys of a small table inside it share."""
    if name in ("match", "unless"):
        pattern = {"$ref": "#/definitions/pattern"}
        return {"anyOf": [pattern, {"type": "array", "minItems": 1, "items": pattern}]}
    if get_origin(kind) in (Union, types.UnionType):
        options = [_value(option, name, text, says) for option in get_args(kind) if option is not types.NoneType]
        return options[0] if len(options) == 1 else {"anyOf": options}
    if get_origin(kind) is Literal:
        return {"type": "string", "enum": list(get_args(kind))}
    if get_origin(kind) is list:
        return {"type": "array", "items": _value(get_args(kind)[0], name, text, says)}
    if get_origin(kind) is dict:
        return {"type": "object", "additionalProperties": _value(get_args(kind)[1], name, text, says)}
    if kind in _UNITS:
        return {"type": "string", "pattern": _UNITS[kind]}
    if kind is SecretRef:
        return _secret(says)
    if isinstance(kind, type) and issubclass(kind, Struct):
        inner = {
            field.name: {
                "description": text,
                **_value(field.type, field.name, text, says),
                **_CLOSER.get((name, field.name), {}),
                **({} if _default(field) in (NODEFAULT, None) else {"default": _written(_default(field))}),
            }
            for field in msgspec.structs.fields(kind)
        }
        needed = [field.name for field in msgspec.structs.fields(kind) if field.required]
        return {
            "type": "object",
            "properties": inner,
            **({"required": needed} if needed else {}),
            "additionalProperties": False,
        }
    return {str: {"type": "string"}, int: {"type": "integer"}, bool: {"type": "boolean"}, Any: {}}[kind]


def _secret(says: _Manual) -> Schema:
    places = {name: {"description": says.form(name), "type": "string"} for name in SecretRef.__struct_fields__}
    return {"type": "object", "properties": places, "additionalProperties": False, "minProperties": 1, "maxProperties": 1}


def _identity() -> Schema:
    paths = {"type": "array", "items": {"type": "string", "pattern": _PATH}}
    fields = "The fields that make two events of this type the same; [] turns identity off for it."
    return {
        "properties": {name: {"description": fields, **paths, "default": default} for name, default in IDENTITY.items()},
        "additionalProperties": {"description": fields, **paths},
        "default": IDENTITY,
    }


def _patterns(says: _Manual) -> dict[str, Schema]:
    """Return the definitions of the pattern language (core/patterns): a pattern, the condition on a field, and their parts."""
    condition: Schema = {"$ref": "#/definitions/condition"}
    text: Schema = {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": {"type": "string"}}]}
    number: Schema = {"type": "number"}
    operands = dict.fromkeys(OPERATORS, text) | dict.fromkeys(("gt", "gte", "lt", "lte"), number)
    operands |= {"not": condition, "exists": {"type": "boolean"}}
    # A mix of operators and fields is an error, and so is a table with neither.
    fields = {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": _PATH, "not": {"enum": list(OPERATORS)}},
        "additionalProperties": condition,
    }
    return {
        "pattern": fields
        | {"description": "Fields of an event; all of them have to fit.", "properties": _known_fields("", fields, says)},
        "condition": {
            "anyOf": [
                {"type": ["string", "number", "boolean"]},
                {"type": "array", "minItems": 1, "items": condition},
                {"$ref": "#/definitions/operators"},
                {"$ref": "#/definitions/fields"},
            ]
        },
        "operators": {
            "description": "All of them have to hold.",
            "type": "object",
            "minProperties": 1,
            "properties": {name: {"description": says.operator(name), **operand} for name, operand in operands.items()},
            "additionalProperties": False,
        },
        "fields": fields | {"description": "Fields of a table in an event; all of them have to fit."},
    }


def _known_fields(prefix: str, fields: Schema, says: _Manual) -> dict[str, Schema]:
    """Return the fields of documented events, which an editor offers. Other fields are equally valid."""
    found: dict[str, Schema] = {}
    for path in sorted(path for path in FIELDS if path.startswith(prefix) and "." not in path.removeprefix(prefix)):
        options: list[Schema] = [{"$ref": "#/definitions/condition"}]
        if path in VALUES:
            options.insert(0, {"enum": sorted(VALUES[path])})
        elif FACT_FIELDS.get(path) is bool:
            options.insert(0, {"type": "boolean"})
        if inner := _known_fields(f"{path}.", fields, says):
            options.insert(0, fields | {"properties": inner})
        added = path in DERIVED_FIELDS or path in FACT_FIELDS
        description = says.form(path) if added else f"The field {path} of an event."
        found[path.removeprefix(prefix)] = {"description": description, "anyOf": options}
    return found


def _written(value: Any) -> Any:
    """Return a default in the form that it has in the file."""
    if isinstance(value, (Duration, Size, Rate)):
        return str(value)
    if isinstance(value, list):
        return [_written(item) for item in value]
    if isinstance(value, Struct):
        return {name: _written(getattr(value, name)) for name in value.__struct_fields__}
    return value


class _Manual:
    """The explanation of each key in `gateway.toml.example`: the comment above it, or its entry in the section's list of keys."""

    _HEADER = re.compile(r"\[{1,2}([a-z_.]+)\]{1,2}")
    _KEY = re.compile(r"(?:# )?([a-z_]+) = (.*)")
    _LISTED = re.compile(r"^#   ([a-z_]+) {2,}(.*(?:\n#    +.*)*)", re.MULTILINE)
    _FORM = re.compile(r"^#   (\{.*\}) +(\S.*(?:\n#     +.*)*)", re.MULTILINE)

    def __init__(self, text: str) -> None:
        self._above = {(table, key): said for table, key, _, said in self._keys(text)}
        self._sinks = {value.strip('"'): table for table, key, value, _ in self._keys(text) if key == "type"}
        self._listed: dict[tuple[str, str], str] = {}
        for section in re.split(r"^# === ", text, flags=re.MULTILINE):
            name = re.split(r"\W", section, maxsplit=1)[0].lower()
            self._listed |= {(name, key): _sentence(said) for key, said in self._LISTED.findall(section)}
        self._forms = [(form, _sentence(said)) for form, said in self._FORM.findall(text)]

    def key(self, table: str, name: str) -> str:
        said = self._above.get((table, name)) or self._listed.get((table.partition(".")[0], name))
        if not said:
            raise LookupError(f"gateway.toml.example says nothing of {name} in [{table}]")
        return said

    def sink(self, kind: str) -> str:
        """Return the table that shows a type of sink. Raises LookupError if there is none."""
        if kind not in self._sinks:
            raise LookupError(f'gateway.toml.example has no sink with type = "{kind}"')
        return self._sinks[kind]

    def form(self, key: str) -> str:
        """Return the explanation after the line that shows `{ key = ... }`."""
        return next(said for form, said in self._forms if form.startswith((f"{{ {key} = ", f'{{ "{key}" = ')))

    def operator(self, name: str) -> str:
        shown = [said for form, said in self._forms if re.search(rf"[{{,] {name} = ", form)]
        return next(iter(shown), "") or next(said for _, said in self._forms if re.search(rf"\b{name}\b", said))

    def _keys(self, text: str) -> Iterator[tuple[str, str, str, str]]:
        """Yield table, key, value, and the comment above. In a commented table, every line begins with "# "."""
        table, sign, comment = "", "", list[str]()
        for raw in text.splitlines():
            if sign and not raw.startswith(sign):
                sign = ""
            line = raw.removeprefix(sign)
            if match := self._HEADER.fullmatch(line.removeprefix("# ")):
                outer, _, name = match[1].rpartition(".")
                holder, _, key = outer.rpartition(".")
                if outer == table and comment:  # a key that is written as a table of its own
                    yield table, name, "", _sentence(" ".join(comment))
                elif holder == table and comment:  # a key that holds such tables by their names
                    yield table, key, "", _sentence(" ".join(comment))
                table, sign, comment = match[1], "# " if line.startswith("# ") else "", []
            elif match := self._KEY.fullmatch(line):
                yield table, match[1], match[2], _sentence(" ".join(comment))
                comment = []
            else:
                comment = [*comment, line.removeprefix("# ")] if line.startswith("# ") else []


def _sentence(text: str) -> str:
    """Return a text as a sentence on one line: with a full stop, and a capital letter if it begins with an English word."""
    words = re.sub(r"\n# +", " ", text).strip()
    if re.match("[a-z]+[ ,;]", words):
        words = words[0].upper() + words[1:]
    return words if not words or words.endswith(".") else f"{words}."


def document(manual: str) -> str:
    """Return the text of the schema file."""
    return json.dumps(schema(manual), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(document(Path(sys.argv[1]).read_text(encoding="utf-8")), encoding="utf-8")
