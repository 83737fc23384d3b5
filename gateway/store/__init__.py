"""The store: `base` names its verbs, `opening` opens it, `sqlite` holds the only SQL. It knows no network, rules or policy."""
