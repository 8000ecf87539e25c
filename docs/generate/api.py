"""Pages of the public names, from ``__all__``; their text comes from the docstrings."""

import importlib

_MODULES = {
    "resilience": "resilience",
    "resilience.testing": "testing",
    "resilience.adapters.backoff": "backoff",
    "pollers": "pollers",
    "pollers.sources": "sources",
    "pollers.callbacks": "callbacks",
    "pollers.emulator": "emulator",
}


def pages() -> dict[str, str]:
    """One page a module, by its place in the site."""
    return {f"reference/api/{page}.md": _page(module) for module, page in _MODULES.items()}


def _page(module: str) -> str:
    room = importlib.import_module(module)
    about, _, _ = (room.__doc__ or "").partition("::")
    names = "\n\n".join(f"::: {module}.{name}" for name in room.__all__)
    return f"# `{module}`\n\n{about}\n\n{names}\n"
