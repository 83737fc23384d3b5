"""Takes a webhook from its request to its commit: verify, decode, route, store. Knows no aiohttp and no SQL.

A webhook goes through these modules in this order:

    receive           verify the signature, decode the body, route the event
      disk_space        refuse everything while the disk is nearly full
    accept            commit the message with its deliveries, write its audit line, hand the deliveries to the lanes
    own_events        the gateway's own events, which go through `accept` like a webhook

A request that is refused goes through these:

    rejections        count it, and write the audit line of the first one and of every ten seconds
    source_watch      notice that a source refuses everything, or that the clock of this host is wrong
    refused_requests  keep it until a later secret fits its signature (`gateway reverify`)

`web/webhooks` reads the request and sends the answer. `delivery` takes the deliveries from here.
"""
