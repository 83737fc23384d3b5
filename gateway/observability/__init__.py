"""Tells operators what happens: the log, the metrics, the audit log. A failure in here never stops the work that it tells about.

logs            rare events, as JSON lines or coloured
metrics         counters and gauges; `exposition` writes them for Prometheus, `throughput` averages some of them
audit           one line per step of every message and delivery; `audit_reading` reads the end back after a crash
audit_files     the files of that log, those that it was rotated into too; `log_proofs` finds what they prove about a message
unsealed        the lines that no seal covers yet, and the head of the chain of seals
"""
