"""What the command line knows of each provider: one table."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from pollers.sources import (
    MemoriesScrapes,
    MemoriesVideos,
    MemosFiles,
    MemosTasks,
    Source,
    memories_ai,
    memos_cloud,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider.

    Attributes:
        base_url: API root if nothing else is said.
        key_names: Environment variables with the key, in this order.
        kinds: Maker of the source by kind of job; the first is the default.
    """

    base_url: str
    key_names: Sequence[str]
    kinds: Mapping[str, Callable[..., Source]]

    def key(self, name: str | None) -> str:
        """The API key from the environment.

        Raises:
            UsageError: there is none.
        """
        names = [name] if name else list(self.key_names)
        for one in names:
            if key := os.environ.get(one, "").strip():
                return key
        msg = f"no API key: set ${' or $'.join(names)}" + (
            "" if name else ", or name another with --api-key-env"
        )
        raise click.UsageError(msg)


PROVIDERS: Mapping[str, Provider] = {
    "memories_ai": Provider(
        base_url=memories_ai.BASE_URL,
        key_names=("MEMORIES_API_KEY", "MEMORIES_AI_API_KEY"),
        kinds={"videos": MemoriesVideos, "scrapes": MemoriesScrapes},
    ),
    "memos_cloud": Provider(
        base_url=memos_cloud.BASE_URL,
        key_names=("MEMOS_API_KEY",),
        kinds={"tasks": MemosTasks, "files": MemosFiles},
    ),
}

KINDS = [kind for provider in PROVIDERS.values() for kind in provider.kinds]


def kind_of(provider: str, kind: str | None) -> str:
    """The kind that was asked for, or the provider's first.

    Raises:
        UsageError: this provider has no such kind.
    """
    known = list(PROVIDERS[provider].kinds)
    if kind is not None and kind not in known:
        raise click.UsageError(f"--kind {kind}: {provider} has {' and '.join(known)}")
    return kind or known[0]


def told(of: Callable[[Provider], Any]) -> str:
    """A default of each provider, for a help text."""
    return ", ".join(f"{name}: {of(provider)}" for name, provider in PROVIDERS.items())
