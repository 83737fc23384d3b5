"""Composes the gateway: builds its parts, runs them, moves them to another configuration, and stops them.

foundation    what all parts stand on: counters, audit log, database
parts         every part, built in order; read it to see what a gateway consists of
ingesting     the parts that take a request to its commit
maintaining   the parts that do what the passing of time makes necessary
reconciling   the parts that compare what is known with Legitmark's API
controlling   the parts that answer people, and do what they ask for
serving       the parts that turn HTTP requests into calls of others
onlooking     the parts that show requests as they come
following     the parts that follow the configuration when it is read again
derive        the plain values that parts take from the configuration
lifecycle     open, run, be ready, drain, stop
reload        another configuration, for all parts or for none
rules_in_use  the rules for new messages, kept in the store
running       the configuration in effect
receiving     the receiver of `gateway play`, which needs none of these
readiness     why the gateway is not ready, and its status line
"""
