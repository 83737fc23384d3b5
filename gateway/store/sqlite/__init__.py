"""The store in one SQLite file. Nothing outside `gateway.store` imports from here."""
