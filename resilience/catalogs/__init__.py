"""Providers as data: one TOML file each, with a link to the provider's own page per table.

Every judgement about a code stands here with its reason; code that needs one reads it from here.
"""
