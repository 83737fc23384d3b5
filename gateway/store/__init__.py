"""The store. Everything outside sees its verbs, and nothing else. It knows no network, rules or policy.

base                the verbs, one protocol for each room that uses them
people              the verbs for people: browse, act, survey
requests            the verbs about service requests: find, list, tell the story, keep the rules
sink_conversations  the verbs for a sink that continues conversations
refused             the verbs for refused requests, which lie in a file of their own
miscounts           counters that differ from what they count, in words
opening             opens a store; only this module knows the engine
sqlite/             the engine that keeps everything in one file
postgres/           the engine that several gateways may share
What both engines share
counted             what a transaction changes of the counters
commit_jobs         the jobs of one commit
committing          group commit
ledger_state        judges each message by the row of its service request
hot_rows            the rows of service requests in memory
join_plan           which messages wait for their other half
new_rows            the rows of new messages and of settled deliveries
purged              what a slice of a purge came to
turns               which delivery of a service request may go
misunderstood       judges a message that is understood only later
steps               what the audit log has to say of a commit
absences            how long sinks were absent
standing_timers     which timers belong to the present state of a request
timer_rows          the rows of timers
timeline            the time by which deliveries are due
columns             the columns that engines select, and what is built from them
answers             whole answers about one message, made of rows
bounds              the bounds of a page
request_answers     choosing and comparing service requests
"""
