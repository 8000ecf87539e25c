"""Decides; does nothing.

No I/O, no clock, no chance and no HTTP library in here: time and draws come in as arguments, and
values go out.  The import linter holds this (see ``pyproject.toml``).
"""
