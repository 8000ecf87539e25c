"""Who may go, when: the doors of a scope and the one machine where they meet.

Knows verdicts, never codes.  All state lives in ``Machine``; only its functions change it.
"""
