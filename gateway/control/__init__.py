"""The acts of people on a running gateway. Knows no aiohttp.

status         what the gateway says about itself
browse         messages, deliveries and the story of each message
stories        the story of a service request, and why somebody was not told
kept_rules     the rules of then
ids            which messages and sinks a person's words name
interventions  replay, discard, pause, resume
evidence       what proves a message to others
drills         a marked message through the real sinks
redecode       messages that an earlier version did not understand
reverify       requests that were refused while a secret was wrong
database_jobs  backups and checks of the whole database
"""
