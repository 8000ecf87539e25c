"""The paths of the Datalake.

A video is sent as JSON with a `source_url` or as multipart with a `file`, and is answered at once
(202) with its id and an operation.  Only the operation's `done` is truth; what is derived from a
video is `409 video_not_ready` until then.  The same `idempotency_key` is the same video, billed
once.
"""

import math
from typing import Any

from yarl import URL

from pollers.emulator.datalake.lake import DEFAULT_COLLECTION, Ingest
from pollers.emulator.datalake.wire import DATALAKE, NOT_READY, PREFIX
from pollers.emulator.exchange import Exchange, table
from pollers.emulator.parsing import parse
from pollers.emulator.provider import now
from pollers.emulator.requests import as_object, json_object
from pollers.emulator.state import State
from pollers.emulator.surface import Payload, RefusedError, Reply
from pollers.emulator.uploads import Received, http_url, receive
from pollers.emulator.wire import BAD_PARAMETERS, whole_number

_KINDS = ("video/", "application/octet-stream")
_TARGETS = ("caption", "event", "frame_embedding", "summary", "title", "transcription")
_LONGEST_PAGE = 100


async def ingest_video(state: State, exchange: Exchange) -> Reply:
    """POST videos: 202 with the ids, or those that this idempotency key had."""
    form, received = await _form(state, exchange)
    key = str(form.get("idempotency_key") or "") or None
    known = state.lake.made_by(key, account=exchange.owner)
    if known is not None:
        _drop(received)
        return _accepted(exchange, known)
    try:
        source = (
            received.path if received else http_url(str(form.get("source_url") or ""), "source_url")
        )
        state.points.spend(exchange.owner, state.settings.upload_cost)
    except RefusedError:
        _drop(received)
        raise
    ingest = state.lake.add(
        ready_after=None,  # until the decoder has said when
        duration=0.0,
        name=received.name if received else URL(str(form["source_url"])).name,
        account=exchange.owner,
        collection_id=str(form.get("collection_id") or DEFAULT_COLLECTION),
        key=key,
    )
    state.spawn(parse(state, ingest.video, source))
    return _accepted(exchange, ingest)


async def get_video(state: State, exchange: Exchange) -> Reply:
    """GET videos/{video_id}: its status, and once it is ready what it is."""
    return Reply(_described(_video(state, exchange), now()))


async def list_lake(state: State, exchange: Exchange) -> Reply:
    """GET videos: newest first, in pages with a cursor."""
    query, at = exchange.request.query, now()
    start = whole_number(query.get("cursor") or 0, "cursor")
    limit = min(whole_number(query.get("limit") or 50, "limit"), _LONGEST_PAGE)
    if start < 0 or limit < 1:
        raise RefusedError(BAD_PARAMETERS, "cursor starts at 0 and limit at 1")
    found = [
        _described(ingest, at)
        for ingest in state.lake.of(exchange.owner, query.get("collection_id"))
        if query.get("status") in {None, ingest.status_at(at)}
    ]
    end = start + limit
    cursor = str(end) if end < len(found) else None
    return Reply({"videos": found[start:end], "next_cursor": cursor})


async def get_operation(state: State, exchange: Exchange) -> Reply:
    """GET operations/{operation}: only `done` is truth; `error` may stand beside it."""
    name, at = exchange.request.match_info["operation"], now()
    ingest = state.lake.operation(name, account=exchange.owner)
    if ingest is None:
        raise RefusedError(BAD_PARAMETERS, f"There is no operation {name}", status=404)
    exchange.video_nos = (ingest.video.video_no,)
    return Reply(
        {
            "operation": ingest.operation,
            "kind": "ingest",
            "done": ingest.video.ended_at(at),
            "cancelled": False,
            "resource": ingest.video.video_no,
            "progress": ingest.progress_at(at),
            "error": ingest.error_at(at),
        }
    )


async def get_derived(state: State, exchange: Exchange) -> Reply:
    """GET videos/{video_id}/title, /summary, /caption, /transcription: 409 until it is ready."""
    ingest, at = _video(state, exchange), now()
    status = ingest.status_at(at)
    if status == "processing":
        rest = min(ingest.video.terminal_at - at, state.settings.not_ready_hint)
        hint = {"Retry-After": str(max(1, math.ceil(rest)))}
        raise RefusedError(NOT_READY, status=409, headers=hint)
    if status == "failed":
        raise RefusedError(BAD_PARAMETERS, "Nothing was derived from a failed video", status=404)
    video, what = ingest.video, exchange.request.match_info["what"]
    text = f"What is seen in {video.name}"
    if what in {"title", "summary"}:
        return Reply({"video_id": video.video_no, what: video.name if what == "title" else text})
    segments = [{"start": 0.0, "end": video.duration, "text": text}]
    return Reply({"video_id": video.video_no, "aggregated": text, "segments": segments})


async def search_moments(state: State, exchange: Exchange) -> Reply:
    """POST search: one moment of each video that is ready; those that are not are not found."""
    body, at = await json_object(exchange.request), now()
    targets = body.get("targets")
    if not body.get("query") or not body.get("collection_id"):
        raise RefusedError(BAD_PARAMETERS, "query and collection_id are required")
    if not isinstance(targets, list) or not targets or any(t not in _TARGETS for t in targets):
        raise RefusedError(BAD_PARAMETERS, f"targets must be some of {', '.join(_TARGETS)}")
    top = whole_number(body.get("top_k") or 10, "top_k")
    ready = (
        ingest
        for ingest in state.lake.of(exchange.owner, str(body["collection_id"]))
        if ingest.status_at(at) == "ready"
    )
    results = [_moment(ingest, targets[0]) for _, ingest in zip(range(top), ready, strict=False)]
    return Reply({"results": results})


def _accepted(exchange: Exchange, ingest: Ingest) -> Reply:
    exchange.video_nos = (ingest.video.video_no,)
    payload: Payload = {
        "video_id": ingest.video.video_no,
        "operation": ingest.operation,
        "status": ingest.status_at(now()),
    }
    return Reply(payload, status=202)


def _described(ingest: Ingest, at: float) -> Payload:
    video, status = ingest.video, ingest.status_at(at)
    payload: Payload = {
        "video_id": video.video_no,
        "collection_id": ingest.collection_id,
        "status": status,
        "metadata": {"title": video.name, "tags": list(video.tags)},
    }
    if status == "ready":
        return payload | {"duration_seconds": video.duration}
    return payload | {"error": ingest.error_at(at)} if status == "failed" else payload


def _moment(ingest: Ingest, target: str) -> Payload:
    video = ingest.video
    return {
        "ref": f"{video.video_no}@0.0-{video.duration}",
        "video_id": video.video_no,
        "target": target,
        "score": 0.61,
        "start": 0.0,
        "end": video.duration,
        "snippet": f"What is seen in {video.name}",
        "thumbnail_url": None,
    }


def _video(state: State, exchange: Exchange) -> Ingest:
    """The video in the path."""
    video_id = exchange.request.match_info["video_id"]
    exchange.video_nos = (video_id,)
    ingest = state.lake.get(video_id, account=exchange.owner)
    if ingest is None:
        raise RefusedError(BAD_PARAMETERS, f"There is no video {video_id}", status=404)
    return ingest


def _drop(received: Received | None) -> None:
    if received is not None:
        received.path.unlink(missing_ok=True)


async def _form(state: State, exchange: Exchange) -> tuple[dict[str, Any], Received | None]:
    """What was sent: a JSON body, or multipart with a part `json` and a `file`."""
    if exchange.request.content_type == "application/json":
        return await json_object(exchange.request), None
    fields, received = await receive(state, exchange.request, kinds=_KINDS)
    try:
        return as_object("".join(fields.get("json", []))), received
    except RefusedError:
        _drop(received)
        raise


DATALAKE_ENDPOINTS = table(
    PREFIX,
    (
        ("POST", "videos", "datalake_ingest", ingest_video),
        ("GET", "videos", "datalake_read", list_lake),
        ("GET", "videos/{video_id}", "datalake_read", get_video),
        (
            "GET",
            "videos/{video_id}/{what:title|summary|caption|transcription}",
            "datalake_read",
            get_derived,
        ),
        ("GET", "operations/{operation}", "datalake_read", get_operation),
        ("POST", "search", "datalake_search", search_moments),
    ),
    surface=DATALAKE,
)
