"""The database: the only SQL. Knows no network, no rules, no policy; it commits what it is given, or says that it can't."""
