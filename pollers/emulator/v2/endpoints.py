"""The paths of Visual Intelligence.

An upload gives an asset whose metadata say `upload_status`; a MAI transcript gives a task to be
asked for.  The transcription of an asset that nobody knows is refused with the words of a broken
rate limit, as the documents warn; a missing asset_id is not.  The VLM answers text only for what it
can fetch, and an answer that failed is HTTP 200.
"""

from typing import Any

from pollers.emulator.exchange import Exchange, table
from pollers.emulator.parsing import parse
from pollers.emulator.provider import now
from pollers.emulator.requests import json_object
from pollers.emulator.state import State
from pollers.emulator.surface import RefusedError, Reply
from pollers.emulator.uploads import http_url, receive
from pollers.emulator.v2.wire import EXCEEDED, PREFIX, VISUAL_INTELLIGENCE, errored, good
from pollers.emulator.videos import Video
from pollers.emulator.wire import BAD_PARAMETERS

_ASSET_NOT_FOUND = "Asset not found"
_FETCHED = frozenset({"http", "https", "gs"})


async def upload_asset(state: State, exchange: Exchange) -> Reply:
    """POST upload: multipart with a `file`; answers its asset_id."""
    state.points.check(exchange.owner, state.settings.upload_cost)
    _, received = await receive(state, exchange.request)
    state.points.spend(exchange.owner, state.settings.upload_cost)
    asset = state.assets.receive(
        name=received.name + received.path.suffix, size=received.size, account=exchange.owner
    )
    exchange.video_nos = (asset.video_no,)
    state.spawn(parse(state, asset, received.path))
    return Reply(good({"asset_id": asset.video_no}))


async def asset_metadata(state: State, exchange: Exchange) -> Reply:
    """GET {asset_id}/metadata: whether the upload has arrived and is a video."""
    asset = _asset(state, exchange)
    resource = {
        "asset_id": asset.video_no,
        "original_filename": asset.name,
        "file_size": asset.size,
        "upload_status": _upload_status(asset, now()),
    }
    return Reply(good({"resource": [resource]}))


async def delete_asset(state: State, exchange: Exchange) -> Reply:
    """DELETE asset/{asset_id}; a second time it is not found."""
    state.assets.delete(_asset(state, exchange))
    return Reply(good(None))


async def mai_transcript(state: State, exchange: Exchange) -> Reply:
    """POST {platform}/video/mai/transcript: starts a task; each call is a new, billed one."""
    body = await json_object(exchange.request)
    url = http_url(str(body.get("video_url") or ""), "video_url")
    state.points.spend(exchange.owner, state.settings.upload_cost)
    seconds = state.settings.seconds_for(Video(video_no="", name=url.name, duration=10.0))
    task = state.assets.add_task(ends_after=seconds, result=_TRANSCRIPT, account=exchange.owner)
    return Reply(good({"task_id": task.task_id}))


async def task_status(state: State, exchange: Exchange) -> Reply:
    """GET task/{task_id}: no envelope, only its status and what came of it."""
    task = state.assets.task(exchange.request.match_info["task_id"], account=exchange.owner)
    if task is None:
        raise RefusedError(BAD_PARAMETERS, "Task not found")
    status = task.status_at(now())
    data = task.result if status == "completed" else None
    error = task.error if status == "failed" else None
    return Reply({"task_id": task.task_id, "status": status, "data": data, "error": error})


async def transcribe_audio(state: State, exchange: Exchange) -> Reply:
    """POST transcriptions/sync-generate-audio (Whisper): the text, at once."""
    asset_id = (await json_object(exchange.request)).get("asset_id")
    if not asset_id:
        raise RefusedError(BAD_PARAMETERS, "asset_id cannot be null or empty")
    exchange.video_nos = (str(asset_id),)
    asset = state.assets.asset(str(asset_id), account=exchange.owner)
    if asset is None or not asset.ended_at(now()) or not asset.good:
        raise RefusedError(BAD_PARAMETERS, EXCEEDED)
    items = [{"start": 0.0, "end": asset.duration, "text": f"What is said in {asset.name}"}]
    return Reply(good({"model": "whisper-1", "items": items}))


async def vlm_chat(_: State, exchange: Exchange) -> Reply:
    """POST vu/chat/completions: OpenAI's shapes; the model's failure is under HTTP 200."""
    messages = (await json_object(exchange.request)).get("messages")
    if not isinstance(messages, list) or not messages:
        raise RefusedError(BAD_PARAMETERS)
    for uri in _files(messages):
        if uri.partition("://")[0] not in _FETCHED:
            return Reply(errored(f"Cannot fetch the file {uri}"), refused=True)
    message = {"role": "assistant", "content": "A short answer about the video."}
    choice = {"index": 0, "message": message, "text": message["content"], "finish_reason": "stop"}
    return Reply({"id": exchange.request_id, "status": "completed", "choices": [choice]})


_TRANSCRIPT: dict[str, Any] = {
    "videoTranscript": {
        "data": {"data": [{"start_time": 0.0, "end_time": 10.0, "transcript": "A street."}]}
    },
    "audioTranscript": {"data": {"data": [{"start_time": 0.0, "end_time": 0.74, "text": "Hello"}]}},
}


def _asset(state: State, exchange: Exchange) -> Video:
    """The asset in the path."""
    asset_id = exchange.request.match_info["asset_id"]
    exchange.video_nos = (asset_id,)
    asset = state.assets.asset(asset_id, account=exchange.owner)
    if asset is None:
        raise RefusedError(BAD_PARAMETERS, _ASSET_NOT_FOUND)
    return asset


def _upload_status(asset: Video, at: float) -> str:
    if not asset.ended_at(at):
        return "PROCESSING"
    return "SUCCESS" if asset.good else "FAILED"


def _files(messages: list[Any]) -> list[str]:
    """The files that the messages of a chat point at."""
    contents = [message.get("content") for message in messages if isinstance(message, dict)]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return [
        str(part["file_uri"]) for part in parts if isinstance(part, dict) and "file_uri" in part
    ]


V2_ENDPOINTS = table(
    PREFIX,
    (
        ("POST", "upload", "v2_upload", upload_asset),
        ("GET", "task/{task_id}", "v2_task", task_status),
        ("GET", "{asset_id}/metadata", "v2_metadata", asset_metadata),
        ("DELETE", "asset/{asset_id}", "v2_delete", delete_asset),
        (
            "POST",
            "{platform:youtube|tiktok|instagram|twitter}/video/mai/transcript",
            "v2_job",
            mai_transcript,
        ),
        ("POST", "transcriptions/sync-generate-audio", "v2_transcription", transcribe_audio),
        ("POST", "vu/chat/completions", "vlm", vlm_chat),
    ),
    surface=VISUAL_INTELLIGENCE,
)
