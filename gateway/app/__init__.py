"""Composes the gateway: builds its parts, runs them, moves them to another configuration, and stops them.

foundation    what all parts stand on: counters, audit log, database
parts         every part, built in order; read it to see what a gateway consists of
acting        the parts that do what people ask for
reconciling   the parts that compare what is known with Legitmark's API
onlooking     the parts that show requests as they come
derive        the plain values that parts take from the configuration
lifecycle     open, run, be ready, drain, stop
reload        another configuration, for all parts or for none
rules_in_use  the rules for new messages, kept in the store
running       the configuration in effect
receiving     the receiver of `gateway play`, which needs none of these
readiness     why the gateway is not ready, and its status line
"""
