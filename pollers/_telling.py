"""What an event may say of an error."""

import re

from pollers.sources.base import printable

_QUERY = re.compile(r"\?[^\s'\"]*=[^\s'\"]*")
MOST_SAID = 500
"""Characters of an error that an event repeats."""


def fit_to_tell(said: str) -> str:
    """What an event may say: whoever gets it must not get a key out of a URL's query."""
    return printable(_QUERY.sub("?…", said))[:MOST_SAID]
