"""Texts that people read, and the envelope that programs read.

language             tells an event in a language and a time zone (wording: the catalogue of words)
  both_events          the two events of a rejection that one message tells
templates            the texts, from built-in templates or the operator's
  template_language    what a template may say (template_words: the names it may use)
  template_bounds      keeps a template from growing without bound
readable             the rules for the keys of such sinks
envelope             a delivery as one JSON document
"""
