"""Messages in, memories out: add, status, feedback, search, get, delete.

An added message is remembered at once ("rough"), and its task goes on refining it; if the task fails
in the end, the memory is gone.
"""

from typing import Any

from pollers.emulator.exchange import Exchange
from pollers.emulator.provider import now
from pollers.emulator.surface import RefusedError, Reply

from .asking import (
    Body,
    conversation,
    exactly_one,
    json_body,
    owner,
    owners,
    several,
    text,
    texts,
    whole,
)
from .state import MemosState
from .things import Memory, MemosTask
from .wire import BAD_PARAMETERS, BAD_RELATIVITY, LEGACY_OK, NO_MEMORY, NO_TASK, NO_USER, success

_ROLES = frozenset({"user", "assistant", "system", "tool"})
_MOST_FOUND = 25
_LARGEST_PAGE = 50
_OTHER_LISTS = ("preference_detail_list", "tool_memory_detail_list", "skill_detail_list")


async def add_message(state: MemosState, exchange: Exchange) -> Reply:
    """POST add/message: answers at once, or with `async_mode: false` when it is processed."""
    body = await json_body(exchange)
    messages = [_message(one) for one in several(body, "messages")]
    whose, where = owners(body), conversation(body)
    state.charge(exchange, (said for _, said, _ in messages))
    task = state.begin_task(exchange)
    for role, said, _ in messages:
        if role == "user" and said:
            remember(state, task, said, owners=whose, conversation_id=where)
    # the SDK of 2025 spells it asyncMode; files are always processed later
    later = body.get("async_mode", body.get("asyncMode", True)) is not False
    if not later and not any(has_file for _, _, has_file in messages):
        await state.pause(task.ends_at - now())
    return Reply(success(_begun(task)))


async def add_feedback(state: MemosState, exchange: Exchange) -> Reply:
    """POST add/feedback: a task like that of a message."""
    body = await json_body(exchange)
    text(body, "user_id")
    conversation(body)
    state.charge(exchange, [text(body, "feedback_content")])
    return Reply(success(_begun(state.begin_task(exchange))))


async def get_status(state: MemosState, exchange: Exchange) -> Reply:
    """POST get/status: one task, in one of the two shapes."""
    task_id = text(await json_body(exchange), "task_id")
    exchange.ids = (task_id,)
    task = state.has.task(task_id, account=exchange.owner, now=now())
    if task is None:
        raise RefusedError(NO_TASK)
    status = task.status_at(now())
    if state.settings.status_shape == "list":
        return Reply(success([{"status": status}], code=LEGACY_OK))
    return Reply(success({"task_id": task_id, "status": status, "memory_views": {}}))


async def search_memory(state: MemosState, exchange: Exchange) -> Reply:
    """POST search/memory: those that have enough of the query's words, the best first."""
    body = await json_body(exchange)
    query, whose = text(body, "query"), owner(body)
    most = min(whole(body, "memory_limit_number", 9), _MOST_FOUND)
    least = _share(body, "relativity", 0.45)
    state.charge(exchange, [query])
    found = [
        (memory.matches(query), memory)
        for memory in state.has.memories_of(whose, account=exchange.owner, now=now())
    ]
    best = sorted((one for one in found if one[0] >= least), key=lambda one: -one[0])
    entries = [{**memory.listed(), "relativity": share} for share, memory in best[:most]]
    return Reply(success({**_lists(entries), "preference_note": ""}))


async def get_memory(state: MemosState, exchange: Exchange) -> Reply:
    """POST get/memory: a page of everything, newest first."""
    body = await json_body(exchange)
    page = whole(body, "page", 1)
    size = min(whole(body, "size", 10), _LARGEST_PAGE)
    all_of_them = list(state.has.memories_of(owner(body), account=exchange.owner, now=now()))
    entries = [memory.listed() for memory in all_of_them[(page - 1) * size : page * size]]
    pages = -(-len(all_of_them) // size)
    counts = {"total": len(all_of_them), "size": size, "current": page, "pages": pages}
    return Reply(success({**_lists(entries), **counts}))


async def delete_memory(state: MemosState, exchange: Exchange) -> Reply:
    """POST delete/memory: all of them or, refused, none."""
    body = await json_body(exchange)
    how = exactly_one(body, "memory_ids", "user_id", "agent_id", "filter")
    if how == "filter":
        raise RefusedError(BAD_PARAMETERS, "filter is not emulated")
    if how == "memory_ids":
        ids, code = texts(body, how), NO_MEMORY
        exchange.ids = tuple(ids)
        known = [state.has.memories.get(one) for one in ids]
        mine = [one.id for one in known if one and one.task.account == exchange.owner]
        gone = len(mine) < len(ids)
    else:
        found = state.has.memories_of(owner(body), account=exchange.owner, now=now())
        mine, code = [memory.id for memory in found], NO_USER
        gone = not mine
    if gone:
        raise RefusedError(code)
    for one in mine:
        state.has.memories.pop(one, None)
    return Reply(success({"success": True}))


def remember(
    state: MemosState,
    task: MemosTask,
    said: str,
    *,
    owners: frozenset[str],
    conversation_id: str | None,
) -> None:
    """Keep what was said, unless the task fails in the end."""
    memory = Memory(
        id=state.new_id(), text=said, owners=owners, conversation_id=conversation_id, task=task
    )
    state.has.memories[memory.id] = memory


def _begun(task: MemosTask) -> dict[str, Any]:
    return {"success": True, "task_id": task.id, "status": task.status_at(now())}


def _message(message: Any) -> tuple[str, str, bool]:
    """Role and text of a message, and whether it has more than text."""
    if not isinstance(message, dict) or str(message.get("role")) not in _ROLES:
        raise RefusedError(BAD_PARAMETERS, "Invalid messages parameters")
    content = message.get("content")
    if isinstance(content, str):
        return message["role"], content, False
    if not isinstance(content, list) or not all(map(_is_part, content)):
        raise RefusedError(BAD_PARAMETERS, "Invalid messages parameters")
    said = " ".join(part["text"] for part in content if part.get("type") == "text")
    return message["role"], said, any(part.get("type") != "text" for part in content)


def _is_part(part: Any) -> bool:
    if not isinstance(part, dict):
        return False
    return part.get("type") != "text" or isinstance(part.get("text"), str)


def _share(body: Body, name: str, default: float) -> float:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise RefusedError(BAD_RELATIVITY)
    return float(value)


def _lists(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {"memory_detail_list": entries, **{name: [] for name in _OTHER_LISTS}}
