"""Numbers: each printed by a script in here, beside the peers, in one process, as a ratio."""
