"""A client as SDKs have them: nested and lazy resources, streams, helpers, and a life of its own."""

import functools
from collections.abc import Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import anyio

from resilience import Guard
from resilience.testing import EPOCH, FixedChance, Script

OK = {"code": "0000", "msg": "ok", "data": {"videos": []}}
BUSY = {"code": "0429", "msg": "Request has exceeded the limit."}
BAD = {"code": "0003", "msg": "One or more parameters are incorrect"}
FAULT = {"code": "0001", "msg": "network abnormal"}
"""Retryable, maybe executed: 0.4, 0.8, 1.6 s."""
REFUSED = {"code": "0401", "msg": "Authorization is invalid or incorrect."}


def make_guard(**settings):
    """A guard in virtual time without jitter."""
    return Guard(
        "memories_ai",
        wall=lambda: EPOCH + anyio.current_time(),
        chance=FixedChance(1.0),
        **settings,
    )


@dataclass
class Page:
    """What a call gives: plain data."""

    items: list = field(default_factory=list)


@dataclass
class Limits:
    """Settings of the client: plain data too."""

    rate: int = 5

    def double(self):
        """Data may have methods."""
        return self.rate * 2


class Videos:
    """A resource."""

    def __init__(self, script):
        self.script = script

    async def list_videos(self, page=1):
        """A read: safe to repeat."""
        return await self.script(page)

    async def upload(self, name, *, body=b""):
        """A write: never repeated."""
        return await self.script(name)

    async def close(self, video):
        """An API call that only sounds like a farewell."""
        return await self.script(video)


class Completions:
    """Two dots down."""

    def __init__(self, script):
        self.script = script

    async def create(self, text):
        """A call."""
        return await self.script(text)


class Chat:
    """A resource with nothing but a lazy resource in it."""

    def __init__(self, script):
        self._script = script

    @functools.cached_property
    def completions(self):
        """Made when it is asked for."""
        return Completions(self._script)


def logged(method):
    """A decorator as they are everywhere."""

    @functools.wraps(method)
    def wrapper(self, *args, **kwargs):
        return method(self, *args, **kwargs)

    return wrapper


class Call:
    """An object that is called like a function."""

    def __init__(self, script):
        self.script = script

    async def __call__(self, word):
        return await self.script(word)


class Client:
    """The whole of it."""

    base_url = "https://paper.test"
    Page = Page

    def __init__(self, *steps, name="client"):
        self.script = Script(steps or [OK])
        self.name = name
        self.limits = Limits()
        self.videos = Videos(self.script)
        self.plain = SimpleNamespace(search=self._request, answer=42)
        self.operation = Call(self.script)
        self.partial = functools.partial(self.get_metadata, "v1")
        self.closed = 0
        self.looked = 0
        self._hidden = Videos(self.script)

    @functools.cached_property
    def chat(self):
        """A lazy resource."""
        self.looked += 1
        return Chat(self.script)

    @property
    def videos_again(self):
        """A property that gives a resource."""
        self.looked += 1
        return self.videos

    async def _request(self, *words):
        return await self.script(*words)

    async def get_metadata(self, video, *, full=False):
        """The plainest method."""
        return await self._request(video)

    def search(self, query):
        """Sync, and gives a coroutine."""
        return self._request(query)

    def announced(self, query) -> Awaitable[dict]:
        """Sync, and says so."""
        return self.script(query)

    @logged
    async def decorated(self, word):
        """Decorated with functools.wraps."""
        return await self._request(word)

    @staticmethod
    async def static(script):
        """A static method."""
        return await script()

    @classmethod
    async def of_class(cls, script):
        """A class method."""
        return await script()

    def helper(self, word):
        """Plain and sync."""
        return word.upper()

    @asynccontextmanager
    async def opened(self):
        """A context manager: handed through."""
        yield self.script

    def with_options(self, name):
        """Another client of the same kind."""
        other = Client(name=name)
        other.script = other.videos.script = self.script
        return other

    async def page(self):
        """Gives an object of the client's package that is data."""
        return Page([1])

    async def aclose(self):
        """The end."""
        self.closed += 1

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.aclose()

    def __len__(self):
        return 7

    def __repr__(self):
        return f"Client({self.name!r})"
