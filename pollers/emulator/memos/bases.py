"""Knowledge bases and their files: created, filled and asked about.

A file comes as base64 or a URL in JSON (never fetched here), or as a part of a multipart form.  What
is checked at once is its name's ending and its size; all else shows later, as a file that failed.
"""

import base64
import binascii
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from pollers.emulator.exchange import Exchange
from pollers.emulator.provider import now
from pollers.emulator.surface import RefusedError, Reply

from .asking import Body, exactly_one, json_body, several, text, texts, whole
from .state import MemosState
from .things import MemosFile
from .wire import (
    BAD_BASE64,
    BAD_FILE_TYPE,
    BAD_PARAMETERS,
    BAD_TYPE,
    EMPTY_LIST,
    LARGE_FILE,
    NO_BASE,
    TOO_MANY_BASES,
    TOO_MANY_FILES,
    success,
)

_MOST_FILES = 20
_PAGE_SIZE = 20
_URL_BYTES = 1024 * 1024
_ENDINGS = {
    "document": frozenset({".pdf", ".docx", ".doc", ".txt", ".json", ".md", ".xml"}),
    "skill": frozenset({".md", ".zip"}),
}


async def create_knowledgebase(state: MemosState, exchange: Exchange) -> Reply:
    """POST create/knowledgebase."""
    text(await json_body(exchange), "knowledgebase_name")
    owned = sum(account == exchange.owner for account in state.has.bases.values())
    if owned >= state.settings.knowledgebases:
        raise RefusedError(TOO_MANY_BASES)
    base_id = state.new_id()
    state.has.bases[base_id] = exchange.owner
    exchange.ids = (base_id,)
    return Reply(success({"id": base_id}))


async def add_knowledgebase_file(state: MemosState, exchange: Exchange) -> Reply:
    """POST add/knowledgebase-file: all of them or, refused, none."""
    if exchange.request.content_type.startswith("multipart/"):
        body = await _form(exchange.request)
    else:
        body = await json_body(exchange)
    base_id = _base(state, exchange, body)
    given = several(body, "file")
    if len(given) > _MOST_FILES:
        raise RefusedError(TOO_MANY_FILES)
    files = [_file(state, exchange, base_id, one) for one in given]
    state.has.files |= {file.id: file for file in files}
    exchange.ids = tuple(file.id for file in files)
    return Reply(success([file.uploaded(now()) for file in files]))


async def get_knowledgebase_file(state: MemosState, exchange: Exchange) -> Reply:
    """POST get/knowledgebase-file: those asked for that are known, or all of a knowledge base."""
    body = await json_body(exchange)
    page, size = whole(body, "page", 1), whole(body, "page_size", _PAGE_SIZE)
    at = now()
    if exactly_one(body, "file_ids", "knowledgebase_id") == "file_ids":
        exchange.ids = tuple(texts(body, "file_ids"))
        asked = list(dict.fromkeys(exchange.ids))
    else:
        base_id = _base(state, exchange, body)
        asked = [one.id for one in state.has.files.values() if one.knowledgebase_id == base_id]
    known = (state.has.file(one, account=exchange.owner, now=at) for one in asked)
    found = [one for one in known if one and one.type == body.get("type", one.type)]
    entries = [one.listed(at) for one in found[(page - 1) * size : page * size]]
    counts = {"total": len(found), "page": page, "page_size": size}
    return Reply(success({**counts, "file_detail_list": entries}))


def _base(state: MemosState, exchange: Exchange, body: Body) -> str:
    base_id = text(body, "knowledgebase_id")
    if state.has.bases.get(base_id) != exchange.owner:
        raise RefusedError(NO_BASE)
    return base_id


def _file(state: MemosState, exchange: Exchange, base_id: str, given: Any) -> MemosFile:
    if not isinstance(given, dict):
        raise RefusedError(BAD_PARAMETERS, "each file must be an object")
    kind = given.get("type") or "document"
    if kind not in _ENDINGS:
        raise RefusedError(BAD_TYPE)
    content = given.get("content")
    name, size = ("", len(content)) if isinstance(content, bytes) else _read(text(given, "content"))
    file = MemosFile(
        id=state.new_id(),
        account=exchange.owner,
        knowledgebase_id=base_id,
        name=str(given.get("name") or name or "file"),
        type=kind,
        size=size,
        visible_at=now() + state.settings.visibility_delay,
        ends_at=now() + state.draw(state.settings.file_seconds),
        outcome=state.draw_outcome(),
    )
    if file.ending and file.ending not in _ENDINGS[kind]:
        raise RefusedError(BAD_FILE_TYPE)
    if file.size > state.settings.max_file_bytes:
        raise RefusedError(LARGE_FILE)
    return file


def _read(content: str) -> tuple[str, int]:
    """The name that a URL gives, and the bytes; nothing is fetched, so a URL's are made up."""
    if content.startswith(("http://", "https://")):
        return urlsplit(content).path.rpartition("/")[2], _URL_BYTES
    try:
        return "", len(base64.b64decode(content, validate=True))
    except binascii.Error as exc:
        raise RefusedError(BAD_BASE64) from exc


async def _form(request: web.Request) -> Body:
    """A multipart form as the JSON would be; knowledge base and type are in the query."""
    form = await request.post()
    files = [
        {"content": part.file.read(), "name": part.filename, "type": request.query.get("type")}
        for part in form.getall("file", [])
        if isinstance(part, web.FileField)
    ]
    if not files:
        raise RefusedError(EMPTY_LIST, "file is empty")
    return {"knowledgebase_id": request.query.get("knowledgebase_id"), "file": files}
