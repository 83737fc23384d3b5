"""Pure decisions, and every type that the layers share. Nothing here is `async`, reads a clock or does I/O.

A reader who follows a webhook opens `signature`, `events`, `routing` (with `patterns` and `conditions`), then `outcome`,
`retry` and `breaker`. The grammars of what people write stand in `values`, `instants`, `urls`, `mailbox` and `networks`.
"""
