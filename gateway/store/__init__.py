"""The store. Everything outside sees its verbs, and nothing else. It knows no network, rules or policy.

base                the verbs, one protocol for each room that uses them
people              the verbs for people: browse, act, survey
requests            the verbs about service requests: find, list, tell the story, keep the rules
sink_conversations  the verbs for a sink that continues conversations
refused             the verbs for refused requests, which lie in a file of their own
opening             opens a store; only this module knows the engine
sqlite/             the engine
"""
