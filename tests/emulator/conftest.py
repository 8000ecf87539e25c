"""A client that speaks plain HTTP to the emulator, and factories for both."""

import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from pollers.emulator import MemoriesEmulator

UNLIMITED = dict.fromkeys(("upload", "list", "metadata", "delete", "task", "scrape"))


@dataclass
class Api:
    """The five calls of the API, each returning the JSON body."""

    session: aiohttp.ClientSession
    emulator: MemoriesEmulator
    key: str | None = "sk-test"

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Send a request with the key; to be awaited or entered."""
        headers = {} if self.key is None else {"Authorization": self.key}
        headers |= options.pop("headers", {})
        url = f"{self.emulator.base_url}/{path}"
        return self.session.request(method, url, headers=headers, **options)

    async def body(self, method: str, path: str, **options: Any) -> Any:
        """Send a request that must be answered with HTTP 200 and JSON."""
        async with self.request(method, path, **options) as response:
            assert response.status == 200
            return await response.json()

    async def page(self, **body: Any) -> Any:
        """POST list_videos."""
        return await self.body("POST", "list_videos", json=body)

    async def numbers(self, **body: Any) -> list[str]:
        """The numbers of a page, in its order."""
        return [video["video_no"] for video in (await self.page(**body))["data"]["videos"]]

    async def metadata(self, video_no: str, **query: str) -> Any:
        """GET get_metadata."""
        return await self.body("GET", "get_metadata", params={"video_no": video_no, **query})

    async def delete(self, *video_nos: str, **query: str) -> Any:
        """POST delete_videos."""
        return await self.body("POST", "delete_videos", json=list(video_nos), params=query)

    async def upload(
        self,
        content: bytes | Path = b"bytes",
        *,
        filename: str = "cat.mp4",
        content_type: str = "video/mp4",
        **fields: str,
    ) -> Any:
        """POST upload, as multipart."""
        form = aiohttp.FormData(fields)
        content = content.read_bytes() if isinstance(content, Path) else content
        form.add_field("file", io.BytesIO(content), filename=filename, content_type=content_type)
        return await self.body("POST", "upload", data=form)

    async def upload_url(self, url: str, **fields: str) -> Any:
        """POST upload_url, as a form."""
        return await self.body("POST", "upload_url", data={"url": url, **fields})


Start = Callable[..., Awaitable[Api]]


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    """Start an emulator with the given settings, without limits and decoding unless asked."""
    async with AsyncExitStack() as stack:

        async def make(**settings: Any) -> Api:
            settings = {"limits": UNLIMITED, "decode": False, "parse_seconds": 0.0} | settings
            emulator = await stack.enter_async_context(MemoriesEmulator(**settings))
            session = await stack.enter_async_context(aiohttp.ClientSession())
            return Api(session, emulator)

        yield make


@pytest_asyncio.fixture
async def api(start: Start) -> Api:
    """An emulator with plain settings."""
    return await start()


@pytest.fixture
def unlimited() -> dict[str, None]:
    """Limits that limit nothing."""
    return dict(UNLIMITED)
