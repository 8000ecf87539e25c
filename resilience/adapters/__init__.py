"""Thin: a client's answers and exceptions in, ``Outcome`` out, and nothing decided.

Each adapter states what happens to method, body, stream and redirect.  None of them is imported by
``import resilience``; a guard loads one when it is asked for.
"""
