"""Chat: an answer made of the question and what is remembered, whole or as a stream of events."""

from collections.abc import Iterator

from pollers.emulator.exchange import Exchange
from pollers.emulator.provider import now
from pollers.emulator.surface import Payload, RefusedError, Reply

from .asking import conversation, json_body, owner, text
from .memories import remember
from .state import MemosState
from .wire import LONG_CHAT, MEMOS_STREAM, success

_MOST_REMEMBERED = 3


async def chat(state: MemosState, exchange: Exchange) -> Reply:
    """POST chat: JSON, or with `stream: true` server-sent events."""
    body = await json_body(exchange)
    query, whose = text(body, "query"), owner({"user_id": body.get("user_id")})
    text(body, "conversation_id")
    where = conversation(body)
    prompts = [query, str(body.get("system_prompt", ""))]
    if sum(map(state.settings.tokens_of, prompts)) > state.settings.chat_tokens:
        raise RefusedError(LONG_CHAT)
    state.charge(exchange, prompts)
    answer = _answer(state, exchange, whose, query)
    if body.get("add_message_on_answer", True) is not False:
        task = state.begin_task(exchange)
        remember(state, task, query, owners=frozenset({whose}), conversation_id=where)
    if body.get("stream") is not True:
        return Reply(success({"response": answer}))
    exchange.surface = MEMOS_STREAM
    *before, last = _chunks(state, answer)
    return Reply(last, headers={"Cache-Control": "no-cache"}, before=tuple(before))


def _answer(state: MemosState, exchange: Exchange, whose: str, query: str) -> str:
    memories = state.has.memories_of(whose, account=exchange.owner, now=now())
    known = [memory.text for memory in memories if memory.matches(query) > 0]
    if not known:
        return f"You asked: {query}. I remember nothing about it."
    return f"You asked: {query}. I remember: {'; '.join(known[:_MOST_REMEMBERED])}"


def _chunks(state: MemosState, answer: str) -> Iterator[Payload | str]:
    """The events' data: a word each, and the end in this deployment's way."""
    pieces = answer.split(" ")
    pieces = [*(f"{piece} " for piece in pieces[:-1]), pieces[-1]]
    if state.settings.stream_end == "done":
        yield from ({"response": piece} for piece in pieces)
        yield "[DONE]"
    else:
        yield from ({"type": "text", "data": piece} for piece in pieces)
        yield {"type": "end", "data": ""}
