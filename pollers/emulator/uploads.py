"""Receiving uploads: a multipart file streamed to disk, or a form with a URL to fetch.

Checked as documented: the file's extension, a Content-Type of `video/…`, at most twenty tags, a
callback of fewer than 300 characters.  Points are taken when the upload is accepted, and a video
that can't be parsed gives none back.  Nothing makes an upload idempotent: sent twice, it is two
videos and costs twice.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePosixPath

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import BadHttpMessage
from yarl import URL

from .exchange import Exchange
from .parsing import call_back_early, parse
from .provider import now
from .state import State
from .surface import RefusedError, Reply
from .videos import Video
from .wire import BAD_PARAMETERS, whole_number

_EXTENSIONS = frozenset({".mp4", ".avi", ".mkv", ".mov"})
_MAX_TAGS = 20
_MAX_CALLBACK = 299
_MAX_FIELD = 64 * 1024
_CHUNK = 256 * 1024


@dataclass(slots=True)
class Received:
    """A file that was uploaded: where it is now, its name without the extension, its bytes."""

    path: Path
    name: str
    size: int


async def upload_file(state: State, exchange: Exchange) -> Reply:
    """POST upload: multipart with a `file`."""
    state.points.check(exchange.owner, state.settings.upload_cost)
    fields, received = await receive(state, exchange.request)
    try:
        video = _accept(state, exchange, fields, name=received.name)
    except RefusedError:
        received.path.unlink(missing_ok=True)
        raise
    video.size = received.size
    state.spawn(call_back_early(state, video))
    state.spawn(parse(state, video, received.path))
    return Reply(state.settings.speech.uploaded(video))


async def upload_url(state: State, exchange: Exchange) -> Reply:
    """POST upload_url: a form (not JSON) with a `url`, fetched after the answer."""
    if exchange.request.content_type != "application/x-www-form-urlencoded":
        raise RefusedError(BAD_PARAMETERS, "Content-Type must be application/x-www-form-urlencoded")
    form = await exchange.request.post()
    fields = {name: [str(value) for value in form.getall(name)] for name in form}
    url = http_url(_one(fields, "url") or "", "url")
    video = _accept(state, exchange, fields, name=PurePosixPath(url.path).stem or "video")
    state.spawn(call_back_early(state, video))
    state.spawn(parse(state, video, url))
    return Reply(state.settings.speech.uploaded(video))


def _accept(
    state: State, exchange: Exchange, fields: Mapping[str, list[str]], *, name: str
) -> Video:
    """Check the form, take the points and put a new video on the shelf."""
    callback = _one(fields, "callback")
    if callback is not None and len(callback) > _MAX_CALLBACK:
        raise RefusedError(BAD_PARAMETERS, f"callback must have at most {_MAX_CALLBACK} characters")
    tags = [tag.strip() for text in fields.get("tags", []) for tag in text.split(",")]
    if len(tags) > _MAX_TAGS:
        raise RefusedError(BAD_PARAMETERS, f"at most {_MAX_TAGS} tags")
    folder_id = whole_number(_one(fields, "folder_id") or -1, "folder_id")
    state.points.spend(exchange.owner, state.settings.upload_cost)
    video = Video(
        video_no=state.library.next_number(),
        name=name,
        account=exchange.owner,
        unique_id=_one(fields, "unique_id") or "default",
        folder_id=folder_id,
        tags=(*filter(None, tags), "api"),
        visible_at=now() + state.settings.visibility_delay,
        callback=callback,
    )
    state.library.add(video)
    exchange.video_nos = (video.video_no,)
    return video


def _one(fields: Mapping[str, list[str]], name: str) -> str | None:
    """The last non-empty value of a field."""
    return next((value for value in reversed(fields.get(name, [])) if value), None)


def http_url(text: str, name: str) -> URL:
    """An address that could be fetched, or a refusal; `name` is the field that it was in."""
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise RefusedError(BAD_PARAMETERS, f"{name} must be a public http or https address")
    return url


async def receive(
    state: State, request: web.Request, *, kinds: tuple[str, ...] = ("video/",)
) -> tuple[dict[str, list[str]], Received]:
    """Read the parts of a multipart body; the file goes to disk as it comes.

    Args:
        state: Of the emulator.
        request: With the body still unread.
        kinds: How the Content-Type of the file may begin.

    Returns:
        The values of each form field, and the file, which is the caller's to remove.
    """
    if not request.content_type.startswith("multipart/"):
        message = "Content-Type must be multipart/form-data"
        raise RefusedError(BAD_PARAMETERS, message, status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    fields: dict[str, list[str]] = {}
    received: Received | None = None
    try:
        async for part in _parts(request):
            if part.name == "file" and received is None:
                received = await _to_disk(state, part, kinds)
            else:
                fields.setdefault(part.name or "", []).append(await _text(part))
    except BaseException:  # also when the client leaves in the middle
        if received is not None:
            received.path.unlink(missing_ok=True)
        raise
    if received is None:
        raise RefusedError(BAD_PARAMETERS, "file is required")
    return fields, received


async def _parts(request: web.Request) -> AsyncIterator[BodyPartReader]:
    try:
        async for part in await request.multipart():
            yield _plain(part)
    except (ValueError, BadHttpMessage) as exc:
        raise RefusedError(BAD_PARAMETERS, "malformed multipart body") from exc


def _plain(part: BodyPartReader | MultipartReader | None) -> BodyPartReader:
    if not isinstance(part, BodyPartReader):
        raise RefusedError(BAD_PARAMETERS, "nested multipart")
    return part


async def _text(part: BodyPartReader) -> str:
    """A form field as text, read no further than is sensible."""
    content = bytearray()
    while chunk := await part.read_chunk():
        content += chunk
        if len(content) > _MAX_FIELD:
            raise RefusedError(BAD_PARAMETERS, f"{part.name} is too long")
    return content.decode(errors="replace")


async def _to_disk(state: State, part: BodyPartReader, kinds: tuple[str, ...]) -> Received:
    name = PurePosixPath((part.filename or "").replace("\\", "/"))
    kind = part.headers.get("Content-Type", "")
    if name.suffix.lower() not in _EXTENSIONS:
        message = f"file extension {name.suffix!r} is not supported"
        raise RefusedError(BAD_PARAMETERS, message, status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    if not kind.startswith(kinds):
        message = f"Content-Type of file must be video/*, not {kind!r}"
        raise RefusedError(BAD_PARAMETERS, message, status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    path = state.new_file(name.suffix.lower())
    try:
        size = await _copy(part, path, most=state.settings.max_upload_bytes)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Received(path=path, name=name.stem, size=size)


async def _copy(part: BodyPartReader, path: Path, *, most: int) -> int:
    """Write a part to a file as it comes, and return its bytes."""
    size = 0
    with path.open("wb") as file:
        while chunk := await part.read_chunk(_CHUNK):
            size += len(chunk)
            if size > most:
                raise RefusedError(
                    BAD_PARAMETERS,
                    "file is too large",
                    status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                )
            file.write(chunk)
    return size
