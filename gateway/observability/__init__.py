"""What operators are told: logs, metrics, the audit log. It may fail nothing that it tells about."""
