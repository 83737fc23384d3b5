"""The configuration: `gateway.toml` is found, decoded into structs and checked, and all problems are reported at once.

A load goes through these modules, which is also the order to read them in:

    files -> syntax       find the file and its includes; explain what is not TOML (incremental: parse only changed tables)
    load                  the whole way from a path to a Config, or to all problems
    settings              the structs, with every default
    decode                TOML tables to structs, key by key; known_keys and secrecy look after misspelt keys and pasted secrets
    rules                 [[routes]] and [[tests]] to compiled rules
    watch_rules           [[watch]] to the rules that watch service requests
    checks                rules about values: access_checks (with addresses), admin_checks, store_checks, reconcile_checks,
                          join_checks, paths, and the check of each sink type
    lint                  warnings about values that are valid, but probably not meant: overlap, spelling
    problems -> positions findings to problems with line and column; secrecy masks secrets
    agreement             the digest by which the nodes on one database see that their configurations differ
    diff                  the differences between two configurations, for a reload

Beside them, `location` has the types Place and Finding, `memo` keeps results between two loads, and `schema` writes the JSON
Schema for editors.
"""

from gateway.config.files import as_the_service, find
from gateway.config.load import load, load_admin, load_audit, load_sink_names, load_store
from gateway.config.settings import Config

__all__ = ["Config", "as_the_service", "find", "load", "load_admin", "load_audit", "load_sink_names", "load_store"]
