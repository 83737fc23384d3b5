"""The store in one SQLite file. Nothing outside `gateway.store` imports from here.

store               the verbs of `store.base`; start here
The way of a change, in the writer's thread
  group_commit        takes everything that waits, and commits it as one transaction
  batch               the jobs of one commit
  accept_settle       accept messages, settle deliveries
  suppressed_rows     deliveries that a rule suppressed
  joining             events that another delivery tells
  judging             judges each message by the row of its service request
  request_rows        the rows in the file
  filling             takes stored messages into the ledger: after a crash, and after an upgrade
  rejudging           judges messages that are understood only later
  unlinking           takes purged messages out of the ledger
  rulebook            the rules by which messages were routed
  operations          reopen, add and discard deliveries, in slices
  redecoding          messages that were not understood when they came
  act_rows            what people did, in lists
  purging             delete what is over its retention, in slices
  sink_rows           the row of each sink
  conversation_rows   the conversations of sinks
  watch_rows          timers of service requests, troubles that last, known words
  untimed_requests    service requests that lack a timer
  passed_timers       timers of states that have passed
  counting            the counters, in the same transaction
  ordering            which delivery of a service request may go
  unlogged            which audit lines may be missing
  timeline_row        how far the wall clock has jumped
The way of a question, on connections that only read
  reading             the verbs that only read
  claims              due deliveries, for the lanes
  queries             messages and deliveries, for people
  newest_first        pages of messages, the newest first
  dead_deliveries     dead deliveries, and the last attempts at a sink
  arrivals            when the messages of whole blocks arrived, for lists of a window of time
  overlay             the rows in memory, laid over those of the file
  request_lookup      finds service requests by their names
  request_questions   finds and lists service requests, for people
  open_requests       service requests of which something is still expected
  request_stories     what a service request went through, and who was told
  kept_traces         when a message came again, and what people did
  heard_newer         which deliveries are late
  paging              pages of messages and deliveries
  named_messages      finds what an id stands for
  overview            the numbers of the status screen
  long_read           work of minutes, such as backup and integrity
The files
  connection          opens connections, with their pragmas
  lock                one process per database
  recovery            what a crash or a person may have left
  migrations, schema/ the schema, and the way to it
  wal_end             the end of the write-ahead log
  file_watch          notices files that are moved or replaced
  at_rest             a database that no process writes to
Refused requests
  refused_store       opens the file when it is needed
  refused_file        the file
Tools: many_rows, sqlite_errors
"""
