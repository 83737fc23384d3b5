"""The acts of people on a running gateway. Knows no aiohttp.

status         what the gateway says about itself
browse         messages, deliveries and the story of each message
stories        the story of a service request, and why somebody was not told
judged_again   the facts of its events by what is known now
kept_rules     the rules of then
ids            which messages and sinks a person's words name
interventions  replay, discard, pause, resume, probe
bulk_acts      such acts on many deliveries, counted first; groups of dead deliveries
acts           all parts that act, as one value
act_jobs       acts that go on in the background
act_list       what people did
rule_trial     what the rules do with an event
sampling       a sample, taken in as a message
evidence       what proves a message to others, for the command that writes it to a file
evidence_files the same as a whole file, for people with a browser
drills         a marked message through the real sinks
redecode       messages that an earlier version did not understand
reverify       requests that were refused while a secret was wrong
database_jobs  backups and checks of the whole database
"""
