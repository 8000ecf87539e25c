"""What an answer means: rules, classification, hints, the backoff table, validation of files.

Knows codes; knows nothing about callers, queues or waiting (that is ``_core.admission``).
"""
