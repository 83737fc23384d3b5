"""Measures how fast the gateway is.

    run                 the command: all parts, the table, the exit code
    figures             medians, quartiles, bounds, the table and the JSON document
    bench, slices       the place where figures are measured, and slices that take turns
    acks, deliveries, lifetime, neighbours, routing     the figures
    machine, measured_gateway, bare, commits, past      cores, processes and databases
    prepared_requests, wrk, sender, receiver            the load and its other end
    cpu_by_part         where the processor time goes (sampled_gateway: the gateway that samples itself)
    purging_gateway     the gateway without the wait before its first purge
    large, holds        questions and operations on a large database, with their own command
    requests/           questions about service requests on a store of ten million messages, with its own command

README.md says what each figure means.
"""
