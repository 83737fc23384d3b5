"""Does what the passing of time makes necessary. Nothing here is on the way of a message.

janitor           once a second: the purge, the disk, the windows of rejections, and the next two
clock_jumps       the wall clock jumped: planned times and ages stay right
invariants        checks that deliveries do not stay due, and that counters match
watchdog          pings systemd for as long as everything moves
lookout           once a second: the next two, and the drift of what senders say
stalls            tells of service requests that stay in a state for too long
lasting_troubles  tells of silent sources and failing sinks
sealing           seals the audit log, and tells the head of its seals once a day
audit_catchup     at the start: writes the audit lines that a crash left out
"""
