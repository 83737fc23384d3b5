"""The names that a template may use: tags, filters, functions and methods. Everything else is refused when a file is loaded."""

from __future__ import annotations

TAGS = frozenset(["block", "endblock", "if", "elif", "else", "endif", "for", "endfor", "set", "endset"])
NATIVE_FILTERS = frozenset(
    [
        "abs",
        "bool",
        "capitalize",
        "count",
        "d",
        "default",
        "dictsort",
        "e",
        "escape",
        "filesizeformat",
        "first",
        "float",
        "groupby",
        "int",
        "items",
        "last",
        "length",
        "lines",
        "list",
        "lower",
        "max",
        "min",
        "pluralize",
        "reject",
        "rejectattr",
        "reverse",
        "round",
        "select",
        "selectattr",
        "sort",
        "split",
        "string",
        "striptags",
        "sum",
        "title",
        "trim",
        "truncate",
        "unique",
        "upper",
        "urlencode",
    ]
)
"""Those of minijinja whose result is no larger than a small multiple of what they are given."""
GROWING_FILTERS = NATIVE_FILTERS - frozenset(
    [
        "abs",
        "bool",
        "count",
        "d",
        "default",
        "filesizeformat",
        "first",
        "float",
        "int",
        "last",
        "length",
        "max",
        "min",
        "pluralize",
        "round",
        "sum",
    ]
)
"""Those whose result may be larger than what they are given, or as large. The others select, count or measure; what they find
may also be undefined, which a function can't be given."""
BOUNDED_FILTERS = frozenset(["batch", "format", "indent", "join", "map", "replace", "slice", "tojson", "wordwrap", "zip"])
"""Those that `template_bounds` has in place of minijinja's."""
FUNCTIONS = frozenset(("range", "dict", "super"))
METHODS = frozenset(
    [
        "capitalize",
        "count",
        "endswith",
        "find",
        "get",
        "isalnum",
        "isalpha",
        "isdigit",
        "islower",
        "isnumeric",
        "isspace",
        "isupper",
        "items",
        "keys",
        "lower",
        "lstrip",
        "rstrip",
        "split",
        "splitlines",
        "startswith",
        "strip",
        "title",
        "upper",
        "values",
    ]
)
