"""One job's life as values that fit in a row: keys, states, transitions, events, schedule.

No I/O, clock or chance, and nothing that holds a task: a row must survive ``kill -9``.
"""
