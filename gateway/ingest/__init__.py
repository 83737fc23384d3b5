"""Takes a webhook from its request to its commit: verify, decode, route, store. Knows no aiohttp and no SQL.

`web/webhooks` reads a request and sends the answer. Between the two, a webhook goes through these modules, in this order:

    receive           `Intake`: verify the signature, decode the body, route the event
      disk_space        `DiskSpace`: while the disk is nearly full, nothing is taken in
    accept            `Inbox`: commit the message with its deliveries, write its audit line, hand the deliveries to their lanes
    own_events        `OwnEvents`: the gateway's own events, which go through the inbox like webhooks
    remembered_events `RememberedEvents`: those that are told once, in the commit that remembers them
    drift_watch       `DriftWatch`: notice what a source says for the first time

A request that is refused goes through these:

    rejections        `Rejections`: count it, and write the audit lines, of which there are few
    source_watch      `SourceWatch`: notice that a source refuses everything, or that the clock of this host is wrong
    refused_requests  `RefusedRequests`: keep it until a later secret fits its signature (`gateway reverify`)
"""
