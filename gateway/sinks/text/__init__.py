"""Texts that people read: languages, templates, the envelope."""
