"""Pure decisions, and every type that the layers share. Nothing here is `async`, reads a clock or does I/O.

A reader who follows a webhook opens them in this order:

    signature         what may come in: the only way to a `VerifiedMessage`
    events            what the bytes mean (vocabulary: the words that events use; samples: one event of each kind)
    routing           which sinks get it: patterns, made of conditions
    outcome           what a sink answered
    retry             what happens to the delivery then
    breaker           when a lane may claim (token_bucket: how fast)

What the gateway tells by itself:

    watches           a service request that stays in a state for too long
    lasting           troubles that matter if they last
    drift             what a sender says for the first time

What several layers speak of:

    records           what the store takes and returns for messages and deliveries
    documents         what the store tells people, and the gateway about itself
    selection         the messages and deliveries that a person names
    conversation      what a sink remembers of a service request
    kept_requests     requests that fitted no secret
    audit_events      every event of the audit log (delivery_events: which one a settlement makes)
    attention         the status screen, and what needs a person
    errors            every exception that is raised on purpose
    secrets           references to secrets, and values that no output shows
    database_files    the names of the database's files

The grammars of what people write: values (durations, sizes, rates), instants, urls, proxies, mailbox, networks.
"""
