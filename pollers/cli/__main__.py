"""``python -m pollers.cli``."""

from pollers.cli import main

main()
