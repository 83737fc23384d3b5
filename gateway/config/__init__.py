"""`gateway.toml`: found, decoded into structs, checked; all problems at once."""

from gateway.config.files import as_the_service, find
from gateway.config.load import load, load_admin, load_audit, load_store
from gateway.config.settings import Config

__all__ = ["Config", "as_the_service", "find", "load", "load_admin", "load_audit", "load_store"]
