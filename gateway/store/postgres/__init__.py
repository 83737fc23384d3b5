"""The store in PostgreSQL, for one gateway or several that share it. Nothing outside `gateway.store` imports from here.

store                the verbs of `store.base`; start here
watching             those about what is watched over time
The way of a change, in the writer's session
  group_commit         commits everything that waits as one transaction, and settles unclear commits
  request_locks        locks on service requests
  accept_messages      accept messages
  settling             settle deliveries
  delivery_rows        the rows of deliveries
  joining              events that another delivery tells
  ledger_rows          judges each message by the row of its service request
  request_rows         those rows
  rejudging            judges messages that are understood only later
  redecoding           messages that were not understood when they came
  unlinking            takes purged messages out of the ledger
  rulebook             the rules by which messages were routed
  operations           reopen, add and discard deliveries, in slices
  act_rows             what people did, in lists
  purging              delete what is over its retention, in slices
  sink_rows            the row of each sink
  conversation_rows    the conversations of sinks
  watch_rows           timers of service requests, troubles that last, known words
  untimed_requests     service requests that lack a timer
  passed_timers        timers of states that have passed
  counting             the counters, a row of each node
  ordering             which delivery of a service request may go
  unlogged             which audit lines may be missing, and the count of commits
  catching_up          what completing the audit log needs
  node_rows            the rows of nodes
  node_names           the names of nodes: two of one name never work at a time
  membership           the only node of a database: a second one is refused
  timeline_row         how far the wall clock has jumped
The way of a question, on sessions that only read
  reading              the verbs that answer people
  claims               due deliveries, for the lanes
  queries              messages and deliveries, for people
  paging               pages of messages and deliveries
  selecting            the conditions of a selection, and their values
  undecoded_messages   messages that were not understood
  dead_deliveries      dead deliveries, and the last attempts at a sink
  arrivals             when the messages of whole blocks arrived
  named_messages       finds what an id stands for
  request_lookup       finds service requests by their names
  request_questions    finds and lists service requests, for people
  open_requests        service requests of which something is still expected
  request_stories      what a service request went through, and who was told
  kept_traces          attempts, joins, repeats and acts beside messages
  heard_newer          which deliveries are late
  overview             the numbers of the status screen
The database
  refusing             the reasons for which a start refuses a server
  connect_errors       why no connection came about
  upkeep               the work of people on the server: check the tables, bring the schema up
  connection           opens connections, with their settings; sessions that find back after a loss
  postgres_errors      errors of PostgreSQL and of the network, translated
  migrations, schema/  the schema, and the way to it
Tools: many_columns
"""
