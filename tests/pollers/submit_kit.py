"""A provider that takes jobs, loses replies, and can be searched for tokens."""

from typing import Any

import anyio
from pollers_kit import Provider, make_poller

from pollers import Intent, Match, Poller

LOST = TimeoutError("no reply")


class Shop(Provider):
    """What was submitted: by id, the token that it carried.  ``takes`` is how long a job runs."""

    def __init__(self, *, takes: float = 10.0, visible_after: float = 0.0) -> None:
        super().__init__()
        self.takes = takes
        self.visible_after = visible_after
        self.made: dict[str, str] = {}
        self.made_at: dict[str, float] = {}
        self.called: list[str] = []
        self.searched: list[float] = []
        self.search_trouble: list[Any] = []

    def make(self, token: str) -> str:
        """The work is done, and billed."""
        number = f"J{len(self.made) + 1}"
        at = anyio.current_time()
        self.made[number], self.made_at[number] = token, at
        return self.add(number, at=at + self.takes, visible=at + self.visible_after)

    async def upload(self, intent: Intent) -> Any:
        """One that goes well."""
        self.called.append(intent.token)
        return self.make(intent.token)

    async def lose(self, intent: Intent) -> Any:
        """It is done, and the reply is lost."""
        await self.upload(intent)
        raise LOST

    async def vanish(self, intent: Intent) -> Any:
        """The request is lost, and nothing is done."""
        self.called.append(intent.token)
        raise LOST

    async def find(self, intent: Intent) -> Any:
        self.searched.append(round(anyio.current_time(), 3))
        wrong = self.search_trouble.pop(0) if self.search_trouble else None
        if isinstance(wrong, BaseException):
            raise wrong
        if wrong is not None:
            return wrong
        before = anyio.current_time() - self.visible_after
        return [
            number for number, token in self.made.items()
            if token == intent.token and self.made_at[number] <= before
        ]  # fmt: skip

    async def guess(self, intent: Intent) -> list[Match]:
        """Anything at all may be it."""
        return [Match(number, sure=False) for number in self.made]

    def poller(self, **settings: Any) -> Poller:
        source = {"find_submitted": self.find, "batch": 50, **settings.pop("source", {})}
        return make_poller(self.source(**source), **settings)
