"""Takes deliveries from their claim to their settlement: one lane for each sink. Knows no aiohttp and no SQL.

directory   the lanes by name; the inbox offers fresh deliveries here
lanes       one lane per sink of the configuration, through every reload
lane        the loop of one sink: gates, claim, start
  gates       pause, breaker, rate, `Retry-After`
  waiting     the deliveries that wait in memory, and what is known of those in the store
  attempt     one delivery: send, decide, settle, report
    sink_slot   the sink, which a reload may replace
    report      the audit line, the metrics, the own event
memory      the bytes that all lanes share
world       the settings of a lane, and the parts that all lanes share
"""
