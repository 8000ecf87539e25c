"""The running state of an emulated MemOS Cloud; what its request handlers work on."""

import json
import random
import uuid
from collections.abc import Iterable

from pollers.emulator.exchange import Exchange
from pollers.emulator.faults import Fault
from pollers.emulator.provider import ProviderState, now
from pollers.emulator.quotas import Keys
from pollers.emulator.replies import Spoilt
from pollers.emulator.surface import RefusedError, Reply

from .settings import MemosSettings, Seconds
from .things import COMPLETED, FAILED, Belongings, MemosTask
from .wire import (
    BAD_KEY,
    LONG_INPUT,
    MEMOS_STREAM,
    NO_KEY,
    TOO_MANY,
    TOO_MANY_TOKENS,
    token_key,
)

INTERFACES = {
    name: (name,)
    for name in (
        "add_message",
        "get_status",
        "add_feedback",
        "search_memory",
        "get_memory",
        "delete_memory",
        "chat",
        "create_knowledgebase",
        "add_knowledgebase_file",
        "get_knowledgebase_file",
    )
}


class MemosState(ProviderState):
    """Settings, belongings, quotas, faults and the log of one emulator."""

    settings: MemosSettings

    def __init__(self, settings: MemosSettings) -> None:
        keys = Keys(missing=NO_KEY, wrong=BAD_KEY, disabled=BAD_KEY, key_of=token_key)
        keys.set(settings.keys, settings.disabled_keys)
        super().__init__(
            settings,
            interfaces=INTERFACES,
            limits=settings.all_limits(),
            keys=keys,
        )
        self.has = Belongings()
        self._ids = random.Random(settings.seed)  # noqa: S311 its own, or an id would shift a fault

    def admit(self, exchange: Exchange) -> None:
        """Count the call for its account; whatever it calls, all share one limit."""
        self.knock(exchange, "calls", TOO_MANY)

    def charge(self, exchange: Exchange, texts: Iterable[str], *, most: int | None = None) -> None:
        """Count the input tokens of a sound request, or refuse it."""
        tokens = sum(map(self.settings.tokens_of, texts))
        if tokens > (self.settings.input_tokens if most is None else most):
            raise RefusedError(LONG_INPUT)
        self.knock(exchange, "tokens", TOO_MANY_TOKENS, cost=tokens)
        exchange.tokens = tokens

    def new_id(self) -> str:
        """An id that was never given before."""
        return str(uuid.UUID(int=self._ids.getrandbits(128), version=4))

    def begin_task(self, exchange: Exchange) -> MemosTask:
        """A task that ends by itself, well or badly."""
        task = MemosTask(
            id=self.new_id(),
            account=exchange.owner,
            visible_at=now() + self.settings.visibility_delay,
            ends_at=now() + self.draw(self.settings.task_seconds),
            outcome=self.draw_outcome(),
        )
        self.has.tasks[task.id] = task
        exchange.ids = (task.id,)
        return task

    def draw(self, seconds: Seconds) -> float:
        """A time as the settings say it."""
        return self.chance.uniform(*seconds) if isinstance(seconds, tuple) else seconds

    def draw_outcome(self) -> str:
        """How something that was added will end."""
        return FAILED if self.chance.random() < self.settings.failing else COMPLETED

    def silence(self, number: int) -> float:
        """As the settings have it between the pieces of a chat."""
        return self.settings.chunk_seconds if number else 0.0

    async def spoil(self, exchange: Exchange, fault: Fault, reply: Reply | None) -> Spoilt:
        """An error before the first piece of a streamed chat is a body, or by choice an event."""
        as_event = reply is None and self.settings.stream_errors == "event"
        coded = fault.code is not None and fault.text is None and fault.body in {None, "envelope"}
        if as_event and coded and await _wants_stream(exchange):
            exchange.surface = MEMOS_STREAM
        return await super().spoil(exchange, fault, reply)


async def _wants_stream(exchange: Exchange) -> bool:
    if exchange.interface != "chat":
        return False
    try:
        body = json.loads(await exchange.request.read())
    except ValueError:
        return False
    return isinstance(body, dict) and body.get("stream") is True
