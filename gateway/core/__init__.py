"""Pure decisions, and every type that the layers share. Nothing here is `async`, reads a clock or does I/O.

A reader who follows a webhook opens them in this order:

    signature         what may come in: the only way to a `VerifiedMessage`
    events            what the bytes mean (vocabulary: the words that events use; samples: one event of each kind)
    judge             what an event means for its service request: is it late, which round, what is wrong
    hindsight         what the same events mean by what is known now
    routing           which sinks get it: patterns, made of conditions
    lateness          which sinks a late event does not go to
    joins             which two events may go out as one message
    outcome           what a sink answered
    retry             what happens to the delivery then
    breaker           when a lane may claim (token_bucket: how fast)

What the gateway tells by itself:

    watches           a service request that stays in a state for too long
    lasting           troubles that matter if they last
    drift             what a sender says for the first time

What people watch as it comes:

    caught_requests   the newest requests, in a ring that is bounded in memory
    signature_findings why a signature fits or does not, as far as it can be known
    masking           hides credentials in headers, paths and texts
    request_pictures  a caught request as people see it
    caught_facts      the facts of its event

What several layers speak of:

    records           what the store takes and returns for messages and deliveries
    dead_groups       dead deliveries that died alike
    documents         what the store tells people, and the gateway about itself
    request_documents what the store tells people about service requests
    references        reference ids in any case
    selection         the messages and deliveries that a person names
    named_requests    the service requests that a name stands for
    rules_then        the rules of a configuration, as the store keeps them
    why_not           why a route did not apply, in words
    fact_fields       the facts as patterns and templates name them
    ledger            the row of a service request, and the facts about an event (packed_rows: the form of the store)
    conversation      what a sink remembers of a service request
    kept_requests     requests that fitted no secret
    audit_events      every event of the audit log (audit_event_table: by name; audit_event_kinds, audit_fields: their parts)
    delivery_events   which of them a settlement makes
    seals             what makes its lines provable (merkle: trees over lines and their proofs)
    evidence_file     a file that proves a message to others: its records (evidence_check, evidence_facts: what is wrong with it)
    evidence_writer   writes such a file (log_prover: the lines of the log in it, and what proves them)
    reconciliation    what an answer of Legitmark's API means
    attention         the status screen, and what needs a person
    errors            every exception that is raised on purpose
    secrets           references to secrets, and values that no output shows
    users             who uses the admin listener, and what each role may do
    database_files    the names of the database's files
    nodes             the gateways that share a database

The grammars of what people write: values (durations, sizes, rates), instants, urls, proxies,
database_url (that of a PostgreSQL), mailbox, networks.
"""
