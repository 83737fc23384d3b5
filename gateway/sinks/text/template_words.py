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
"""Filters of minijinja whose result is at most a small multiple of their input."""
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
"""Filters whose result may be as large as their input, or larger. The others select, count or measure; their result may also be
undefined, and an undefined value cannot be passed to a function."""
BOUNDED_FILTERS = frozenset(["batch", "format", "indent", "join", "map", "replace", "slice", "tojson", "wordwrap", "zip"])
"""Filters that `template_bounds` has in place of minijinja's."""
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
