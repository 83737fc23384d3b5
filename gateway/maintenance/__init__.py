"""What the passing of time makes necessary: purge, clock jumps, invariants, the watchdog, the audit log after a crash."""
