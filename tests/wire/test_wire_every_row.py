"""Every row of both seed documents, on the wire.

The expectations are written by hand, from the documents (``seeds``), from the decisions in the
issue, and from what is known about the APIs; never from our catalogs.  Each row runs four times:
through an aiohttp session with the middleware, through an httpx client with the guard installed,
through ``guard.call`` of a function that returns the decoded body, and through a wrapped client object.
"""

import asyncio
from datetime import UTC, datetime
from functools import partial

import pytest
from wire_kit import Caller, Got, Provider, instant, now, scene

from resilience import AlreadyDone, FatalError, QuotaError, RetriesExhausted
from resilience.testing import run_virtual

MEMORIES, MEMOS = "memories_ai", "memos_cloud"
SOUND = {
    MEMORIES: {
        "code": "0000",
        "msg": "success",
        "data": {"videos": []},
        "success": True,
        "failed": False,
    },
    MEMOS: {"code": 0, "message": "ok", "data": {}},
}
LIST = "/serve/api/v1/list_videos"
UPLOAD = "/serve/api/v1/upload"
DELETE = "/serve/api/v1/delete_videos"
ROOT = "/api/openmem/v1"
SEARCH = ROOT + "/search/memory"
CHAT = ROOT + "/chat"
CONSOLE = ROOT + "/console/verification"
OTHER = {MEMORIES: "/serve/api/v1/search", MEMOS: ROOT + "/get/status"}
"""An endpoint that has nothing to do with the rejected one."""

PARAMS = "One or more parameters are incorrect"
NETWORK = "network abnormal"

# Fatal: (provider, path, code, the provider's words, error class)
FATAL = [
    (MEMORIES, LIST, "0001", PARAMS, FatalError),
    (MEMORIES, LIST, "0003", PARAMS, FatalError),
    (MEMORIES, DELETE, "0409", "Duplicate requests are not allowed", AlreadyDone),
    (MEMOS, SEARCH, 40000, "Required parameters missing or format invalid", FatalError),
    (
        MEMOS,
        SEARCH,
        40001,
        "Requested resource (e.g., file, project) validation failed",
        FatalError,
    ),
    (MEMOS, SEARCH, 40002, "Parameter cannot be empty", FatalError),
    (MEMOS, SEARCH, 40003, "Parameter is empty", FatalError),
    (MEMOS, SEARCH, 40004, "Callback status must be 'success' or 'fail'", FatalError),
    (MEMOS, SEARCH, 40005, "Callback origin_type not supported", FatalError),
    (
        MEMOS,
        ROOT + "/add/knowledgebase-file",
        40007,
        "Uploaded file type not supported",
        FatalError,
    ),
    (
        MEMOS,
        ROOT + "/add/knowledgebase-file",
        40008,
        "Base64 content contains invalid characters",
        FatalError,
    ),
    (MEMOS, SEARCH, 40010, "User ID exceeds length limit", FatalError),
    (MEMOS, SEARCH, 40020, "Project ID format invalid", FatalError),
    (MEMOS, SEARCH, 40021, "Project does not exist or has been revoked", FatalError),
    (MEMOS, CONSOLE, 40030, "API Key name too long", FatalError),
    (MEMOS, SEARCH, 40100, "Not logged in or session expired", FatalError),
    (MEMOS, SEARCH, 40101, "No permission to operate this resource", FatalError),
    (MEMOS, CONSOLE, 40102, "Username or account already exists", FatalError),
    (MEMOS, SEARCH, 40103, "Specified user does not exist", FatalError),
    (MEMOS, CONSOLE, 40110, "Verification code expired", FatalError),
    (MEMOS, CONSOLE, 40111, "Verification code error", FatalError),
    (MEMOS, CHAT, 40303, "Single chat length exceeds model limit", FatalError),
    (MEMOS, SEARCH, 40305, "Input content exceeds single Token limit", FatalError),
    (MEMOS, ROOT + "/delete/memory", 40307, "Memory for deletion does not exist", AlreadyDone),
    (MEMOS, ROOT + "/get/knowledgebase-file", 50100, "File ID does not exist", FatalError),
    (MEMOS, ROOT + "/add/knowledgebase-file", 50104, "Single file size limit exceeded", FatalError),
    (MEMOS, ROOT + "/add/knowledgebase-file", 50106, "Single file exceeds 100MB", FatalError),
    (
        MEMOS,
        ROOT + "/add/knowledgebase-file",
        50107,
        "File format corrupted or mismatch",
        FatalError,
    ),
    (
        MEMOS,
        ROOT + "/get/knowledgebase-file",
        50110,
        "File does not belong to current knowledge base",
        FatalError,
    ),
    (MEMOS, SEARCH, 50120, "Knowledge base ID does not exist", FatalError),
    (MEMOS, SEARCH, 50123, "Knowledge base does not belong to current project", FatalError),
]

# Fatal for the account: nobody gets in until a probe finds that it was mended.
REFUSED = [
    (MEMORIES, LIST, "0403", "Developer account has been disabled."),
    (MEMORIES, LIST, "0401", "Authorization is invalid or incorrect."),
    (MEMORIES, LIST, "9009", "Permission denied."),
    (MEMOS, SEARCH, 40130, "Request missing API Key"),
    (MEMOS, SEARCH, 40132, "API Key invalid or disabled"),
]

# Storage or a count is full: no door closes.
CAPACITY = [
    (MEMOS, ROOT + "/add/knowledgebase-file", 50103, "Knowledge base file count limit exceeded"),
    (
        MEMOS,
        ROOT + "/add/knowledgebase-file",
        50105,
        "Knowledge base total capacity limit exceeded",
    ),
    (
        MEMOS,
        ROOT + "/add/knowledgebase-file",
        50108,
        "Knowledge base capacity reached version limit",
    ),
    (MEMOS, ROOT + "/create/knowledgebase", 50121, "Knowledge base count limit exceeded"),
]

# Exhausted: whose door closes ("account" or "chat"), and seconds to the probe where they are known.
EXHAUSTED = [
    (MEMORIES, LIST, "0402", "You don't have enough points.", "account", None),
    (MEMOS, CHAT, 40301, "Chat Request Token total limit exceeded", "chat", 3600.0),
    (MEMOS, CHAT, 40302, "Chat Response Token total limit exceeded", "chat", 3600.0),
    (MEMOS, SEARCH, 40304, "Account total API call limit reached", "account", 3600.0),
]

# Passes by itself: rejected twice, then fine; when the three requests are sent.
PASSING = [
    (MEMORIES, LIST, "0001", NETWORK, [0.0, 0.4, 1.2]),
    (MEMORIES, LIST, "0429", "Request has exceeded the limit.", [0.0, 1.0, 3.0]),
    (MEMORIES, LIST, 429, "Rate limit exceeded", [0.0, 1.0, 3.0]),
    (MEMORIES, DELETE, "0409", "Service is busy, try later", [0.0, 1.0, 3.0]),
    (MEMOS, SEARCH, 50000, "Internal server error", [0.0, 2.0, 6.0]),
    (MEMOS, SEARCH, 50004, "Memory service temporarily unavailable", [0.0, 1.0, 3.0]),
    (MEMOS, SEARCH, 50005, "Search service temporarily unavailable", [0.0, 1.0, 3.0]),
    (MEMOS, CHAT, 50011, "SSE connection failed", [0.0, 1.0, 3.0]),
    (MEMOS, SEARCH, 40309, "Token usage exceeds the per-time-window limit", [0.0, 2.0, 6.0]),
]

# Locked for a known time (console endpoints only).
COOLDOWN = [
    (MEMOS, CONSOLE, 40112, "Too many verification code errors, locked for 10 min", 600.0),
    (MEMOS, CONSOLE, 40113, "Duplicate verification code requests within 60s", 60.0),
]


def rejection(provider: str, code: object, words: str) -> dict[str, object]:
    """As the documents show it: Memories.ai says ``msg``, MemOS ``message``."""
    if provider == MEMORIES:
        return {"code": code, "msg": words}
    return {"code": code, "message": words, "data": None}


def rows(table: list) -> list:
    """A table as parameters, named after provider, code and first word."""
    return [
        pytest.param(*row, id=f"{row[0].split('_')[0]}-{row[2]}-{row[3].split()[0].lower()}")
        for row in table
    ]


@pytest.fixture(params=["session", "httpx", "call", "wrap"])
def way(request):
    """Through a session with the middleware, a client with the guard, guard.call, or a wrapped client."""
    return request.param


def check_error(got: Got, kind: type, code: object, words: str) -> None:
    """The error names class, code, words, title and remedy."""
    assert type(got.error) is kind
    assert got.error.code == str(code)
    assert got.error.message == words
    assert got.error.remedy != ""
    assert got.error.title != ""


def check_body(way: str, got: Got, body: object) -> None:
    """A client's caller still gets the provider's last answer; the others raised."""
    assert got.body == (body if way in ("session", "httpx") else None)


def play(way: str, provider: str, replies: list, story, **settings) -> None:
    """Run a story in virtual time."""
    run_virtual(partial(scene, way, provider, replies, story, **settings))


@pytest.mark.parametrize(
    ("provider", "path", "body"),
    [
        pytest.param(MEMORIES, LIST, SOUND[MEMORIES], id="memories-0000"),
        pytest.param(
            MEMORIES,
            LIST,
            {"code": "SUCCESS", "msg": "Search completed successfully"},
            id="memories-SUCCESS",
        ),
        pytest.param(
            MEMORIES, LIST, {"code": 200, "msg": "success", "data": {}}, id="memories-v2-200"
        ),
        pytest.param(MEMOS, SEARCH, SOUND[MEMOS], id="memos-0"),
        pytest.param(
            MEMOS,
            SEARCH,
            {"code": 200, "message": "ok", "data": [{"status": "completed"}]},
            id="memos-200",
        ),
    ],
)
def test_success_is_handed_through(way, provider, path, body):
    """A success costs one request and reaches the caller unchanged."""

    async def story(call: Caller, server: Provider) -> None:
        got = await call("POST", path)
        assert (got.body, got.error) == (body, None)
        assert server.asked_at == [0.0]

    play(way, provider, [body], story)


@pytest.mark.parametrize(("provider", "path", "code", "words", "kind"), rows(FATAL))
def test_fatal_row_is_final(way, provider, path, code, words, kind):
    """The first answer is final, and the next call is not affected."""
    refused = rejection(provider, code, words)

    async def story(call: Caller, server: Provider) -> None:
        got = await call("POST", path)
        check_error(got, kind, code, words)
        check_body(way, got, refused)
        assert got.error.attempts == 1
        assert got.error.resume_at is None
        assert server.asked_at == [0.0]
        after = await call("POST", path)
        assert (after.body, after.error) == (SOUND[provider], None)
        assert server.asked_at == [0.0, 0.0]

    play(way, provider, [refused, SOUND[provider]], story)


@pytest.mark.parametrize("code", [40303, 40305, 40307])
def test_misfiled_row_says_why(way, code):
    """Three fatal rows stand in the page's quota section; their remedy says that no quota is meant."""
    words = {
        40303: "Single chat length exceeds model limit",
        40305: "Input content exceeds single Token limit",
    }
    refused = rejection(MEMOS, code, words.get(code, "Memory for deletion does not exist"))

    async def story(call: Caller, server: Provider) -> None:
        got = await call("POST", SEARCH)
        assert isinstance(got.error, FatalError)
        assert "quota" in got.error.remedy

    play(way, MEMOS, [refused], story)


@pytest.mark.parametrize(("provider", "path", "code", "words"), rows(REFUSED))
def test_refused_account_is_left_alone(way, provider, path, code, words):
    """A refused key or account costs one request; all others fail locally until a probe gets in."""
    refused = rejection(provider, code, words)

    async def story(call: Caller, server: Provider) -> None:
        first = await call("POST", path)
        check_error(first, FatalError, code, words)
        check_body(way, first, refused)
        second = await call("POST", OTHER[provider])
        check_error(second, FatalError, code, words)
        assert second.body is None
        assert second.error.attempts == 0
        assert second.error.reason == "refused"
        assert server.asked_at == [0.0]
        wait = second.error.retry_after
        assert 30.0 <= wait <= 3600.0  # no document says how soon a key is mended
        assert second.error.resume_at == first.error.resume_at == instant(wait)
        await asyncio.sleep(wait - 1)
        assert (await call("POST", path)).error.attempts == 0
        await asyncio.sleep(1)
        probe = await call("POST", path)
        after = await call("POST", OTHER[provider])
        assert (probe.error, after.error) == (None, None)
        assert server.asked_at == [0.0, wait, wait]

    play(way, provider, [refused, SOUND[provider]], story)


@pytest.mark.parametrize(("provider", "path", "code", "words"), rows(CAPACITY))
def test_full_storage_closes_no_door(way, provider, path, code, words):
    """Capacity is a quota that waiting never cures, and that concerns no other call."""
    refused = rejection(provider, code, words)

    async def story(call: Caller, server: Provider) -> None:
        got = await call("POST", path)
        check_error(got, QuotaError, code, words)
        check_body(way, got, refused)
        assert got.error.reason == "capacity"
        assert got.error.resume_at is None
        after = await call("POST", path)
        assert after.error is None
        assert server.asked_at == [0.0, 0.0]

    play(way, provider, [refused, SOUND[provider]], story)


@pytest.mark.parametrize(("provider", "path", "code", "words", "scope", "probe"), rows(EXHAUSTED))
def test_exhausted_row_fails_locally_until_a_probe(way, provider, path, code, words, scope, probe):
    """One request; then everybody of the scope fails fast with resume_at, until a probe succeeds."""
    refused = rejection(provider, code, words)

    async def story(call: Caller, server: Provider) -> None:
        first = await call("POST", path)
        check_error(first, QuotaError, code, words)
        check_body(way, first, refused)
        assert first.error.reason == "exhausted"
        second = await call("POST", path)
        check_error(second, QuotaError, code, words)
        assert second.error.attempts == 0
        wait = probe or second.error.retry_after
        assert 60.0 <= wait <= 3600.0
        assert second.error.resume_at == first.error.resume_at == instant(wait)
        assert server.asked_at == [0.0]
        await asyncio.sleep(wait - 1)
        assert isinstance((await call("POST", path)).error, QuotaError)
        await asyncio.sleep(1)
        assert (await call("POST", path)).error is None
        assert (await call("POST", path)).error is None
        assert server.asked_at == [0.0, wait, wait]

    play(way, provider, [refused, SOUND[provider]], story)


@pytest.mark.parametrize(("provider", "path", "code", "words", "scope", "probe"), rows(EXHAUSTED))
def test_exhausted_row_closes_its_own_scope(way, provider, path, code, words, scope, probe):
    """An empty account stops every endpoint; an empty chat budget stops only chat."""
    refused = rejection(provider, code, words)

    async def story(call: Caller, server: Provider) -> None:
        await call("POST", path)
        other = await call("POST", OTHER[provider])
        if scope == "account":
            check_error(other, QuotaError, code, words)
            assert server.asked_at == [0.0]
        else:
            assert other.error is None
            assert server.asked_at == [0.0, 0.0]

    play(way, provider, [refused, SOUND[provider]], story)


@pytest.mark.parametrize(("provider", "path", "code", "words", "times"), rows(PASSING))
def test_passing_row_succeeds_at_the_third_request(way, provider, path, code, words, times):
    """Rejected twice, then fine: the caller sees only the success, at exactly this time."""
    refused = rejection(provider, code, words)

    async def story(call: Caller, server: Provider) -> None:
        # 50011 is met on chat, which may be repeated once for what is uncertain
        got = await call("POST", path)
        assert (got.body, got.error) == (SOUND[provider], None)
        assert server.asked_at == times
        assert got.at == times[-1]

    play(way, provider, [refused, refused, SOUND[provider]], story)


@pytest.mark.parametrize(
    ("provider", "path", "code", "words", "times"),
    rows([
        (MEMORIES, LIST, "0001", NETWORK, [0.0, 0.4, 1.2]),
        (MEMORIES, DELETE, "0409", "Service is busy, try later", [0.0, 1.0, 3.0, 7.0]),
        (MEMOS, SEARCH, 50000, "Internal server error", [0.0, 2.0, 6.0]),
        (MEMOS, SEARCH, 50004, "Memory service temporarily unavailable", [0.0, 1.0, 3.0, 7.0]),
        (MEMOS, SEARCH, 50005, "Search service temporarily unavailable", [0.0, 1.0, 3.0, 7.0]),
        (MEMOS, CHAT, 50011, "SSE connection failed", [0.0, 1.0, 3.0]),
    ]),
)  # fmt: skip
def test_retryable_row_gives_up(way, provider, path, code, words, times):
    """What keeps failing ends after four attempts, or after the three that its row allows."""
    refused = rejection(provider, code, words)

    async def story(call: Caller, server: Provider) -> None:
        got = await call("POST", path)
        check_error(got, RetriesExhausted, code, words)
        check_body(way, got, refused)
        assert got.error.attempts == len(times)
        assert server.asked_at == times

    play(way, provider, [refused], story)


def test_0001_is_quick_for_any_passing_fault(way):
    """0001 is retried if its message says network, time-out or busy, and only then."""

    async def story(call: Caller, server: Provider) -> None:
        for words in ("Network abnormal", "read timeout", "system BUSY"):
            server.replies = [rejection(MEMORIES, "0001", words), SOUND[MEMORIES]]
            assert (await call("POST", LIST)).error is None
        assert server.asked_at == [0.0, 0.4, 0.4, 0.8, 0.8, 1.2]
        for words in ("video not found", "No static resource api."):
            server.replies = [rejection(MEMORIES, "0001", words)]
            assert type((await call("POST", LIST)).error) is FatalError
        assert len(server.asked_at) == 8

    play(way, MEMORIES, [SOUND[MEMORIES]], story)


@pytest.mark.parametrize(("provider", "path", "code", "words", "lock"), rows(COOLDOWN))
def test_cooldown_row_fails_at_once_if_it_cannot_wait(way, provider, path, code, words, lock):
    """A lock that outlasts max_wait is told now, with the instant of its end, to everybody."""
    refused = rejection(provider, code, words)

    async def story(call: Caller, server: Provider) -> None:
        first = await call("POST", path, max_wait=lock - 1)
        check_error(first, QuotaError, code, words)
        check_body(way, first, refused)
        assert first.at == 0.0
        assert first.error.resume_at == instant(lock)
        assert first.error.retry_after == lock
        second = await call("POST", path, max_wait=lock - 1)
        assert second.error.attempts == 0
        assert second.error.resume_at == instant(lock)
        assert (await call("POST", SEARCH)).error is None  # not the console: not concerned
        assert server.asked_at == [0.0, 0.0]

    play(way, provider, [refused, SOUND[provider]], story)


@pytest.mark.parametrize(("provider", "path", "code", "words", "lock"), rows(COOLDOWN))
@pytest.mark.parametrize("patience", ["exactly", "forever"])
def test_cooldown_row_waits_exactly_if_it_may(way, provider, path, code, words, lock, patience):
    """A lock that max_wait allows is waited for to the second, and costs one request more."""
    refused = rejection(provider, code, words)

    async def story(call: Caller, server: Provider) -> None:
        got = await call("POST", path, max_wait=lock if patience == "exactly" else None)
        assert (got.body, got.error) == (SOUND[provider], None)
        assert server.asked_at == [0.0, lock]

    play(way, provider, [refused, SOUND[provider]], story)


def test_40114_waits_for_midnight_in_shanghai(way):
    """The daily cap of verification codes ends at midnight, Beijing time; until then nothing is sent."""
    refused = rejection(MEMOS, 40114, "Daily verification code limit exceeded")
    midnight = datetime(2023, 11, 15, 16, 0, tzinfo=UTC)  # virtual time begins at 22:13:20 UTC

    async def story(call: Caller, server: Provider) -> None:
        first = await call("POST", CONSOLE, max_wait=None)
        check_error(first, QuotaError, 40114, "Daily verification code limit exceeded")
        assert first.error.resume_at == midnight
        second = await call("POST", CONSOLE)
        assert (second.error.attempts, second.error.resume_at) == (0, midnight)
        assert (await call("POST", SEARCH)).error is None
        await asyncio.sleep((midnight - instant(now())).total_seconds())
        assert (await call("POST", CONSOLE)).error is None
        assert server.asked_at == [0.0, 0.0, 64000.0]

    play(way, MEMOS, [refused, SOUND[MEMOS]], story)


def test_40300_is_a_window_of_a_minute(way):
    """Once rejected, it waits the minute; the whole account does."""
    refused = rejection(MEMOS, 40300, "API call frequency limit exceeded")

    async def story(call: Caller, server: Provider) -> None:
        got, other = await asyncio.gather(call("POST", SEARCH), later(call, 1.0, OTHER[MEMOS]))
        assert (got.error, other.error) == (None, None)
        assert server.asked_at == [0.0, 60.0, 60.0]

    play(way, MEMOS, [refused, SOUND[MEMOS]], story)


def test_40300_twice_is_an_empty_account(way):
    """Rejected again after its minute, it is the plan's cap, and waiting stops."""
    words = "API call frequency limit exceeded"
    refused = rejection(MEMOS, 40300, words)

    async def story(call: Caller, server: Provider) -> None:
        got = await call("POST", SEARCH)
        check_error(got, QuotaError, 40300, words)
        assert got.error.reason == "exhausted"
        assert got.error.attempts == 2
        other = await call("POST", OTHER[MEMOS])
        assert (other.error.attempts, other.error.reason) == (0, "exhausted")
        assert server.asked_at == [0.0, 60.0]

    play(way, MEMOS, [refused], story)


async def later(call: Caller, delay: float, path: str) -> Got:
    """Call after a while."""
    await asyncio.sleep(delay)
    return await call("POST", path)


def test_0429_closes_its_endpoint_only(way):
    """Limits are per interface: a busy list stops no search."""
    refused = rejection(MEMORIES, "0429", "Request has exceeded the limit.")

    async def story(call: Caller, server: Provider) -> None:
        got, other, same = await asyncio.gather(
            call("POST", LIST), later(call, 0.5, OTHER[MEMORIES]), later(call, 0.5, LIST)
        )
        assert (got.error, other.error, same.error) == (None, None, None)
        assert other.at == 0.5
        assert server.asked_at == [0.0, 0.5, 1.0, 1.0]

    play(way, MEMORIES, [refused, SOUND[MEMORIES]], story)


@pytest.mark.parametrize(
    ("provider", "path", "code", "words"),
    [
        pytest.param(MEMORIES, UPLOAD, "0001", NETWORK, id="memories-upload"),
        pytest.param(
            MEMOS, ROOT + "/create/knowledgebase", 50000, "Internal server error", id="memos-create"
        ),
        pytest.param(
            MEMOS, ROOT + "/add/feedback", 50000, "Internal server error", id="memos-feedback"
        ),
    ],
)
def test_uncertain_upload_is_not_repeated(way, provider, path, code, words):
    """Where the work may have been done and nobody allowed a repeat, one request is all."""
    refused = rejection(provider, code, words)

    async def story(call: Caller, server: Provider) -> None:
        got = await call("POST", path)
        check_error(got, RetriesExhausted, code, words)
        check_body(way, got, refused)
        assert got.error.reason == "not_repeatable"
        assert server.asked_at == [0.0]
        allowed = await call("POST", path, idempotent=True)
        assert allowed.error is None

    play(way, provider, [refused, refused, SOUND[provider]], story)


def test_rejected_upload_is_repeated(way):
    """A rate limit says that nothing was done, so even an upload is sent again, whole."""
    refused = rejection(MEMORIES, "0429", "Request has exceeded the limit.")

    async def story(call: Caller, server: Provider) -> None:
        got = await call("POST", UPLOAD)
        assert got.error is None
        assert server.asked_at == [0.0, 1.0]
        assert server.bodies == [b'{"page": 1}'] * 2

    play(way, MEMORIES, [refused, SOUND[MEMORIES]], story)


def test_uncertain_message_is_repeated_once(way):
    """add/message may be repeated once after an uncertain answer, because the server merges it."""
    refused = rejection(MEMOS, 50000, "Internal server error")

    async def story(call: Caller, server: Provider) -> None:
        got = await call("POST", ROOT + "/add/message")
        check_error(got, RetriesExhausted, 50000, "Internal server error")
        assert server.asked_at == [0.0, 2.0]

    play(way, MEMOS, [refused], story)


def test_lost_delete_is_done(way):
    """A duplicate after our own lost reply means that the deletion worked."""
    lost = rejection(MEMOS, 50000, "Internal server error")
    gone = rejection(MEMOS, 40307, "Memory for deletion does not exist")

    async def story(call: Caller, server: Provider) -> None:
        got = await call("POST", ROOT + "/delete/memory")
        assert (got.body, got.error) == (gone, None)
        assert server.asked_at == [0.0, 2.0]

    play(way, MEMOS, [lost, gone], story)


@pytest.mark.parametrize(
    ("draw", "code", "words", "times"),
    [
        pytest.param(0.5, "0001", NETWORK, [0.0, 0.2, 0.6], id="retryable-half"),
        pytest.param(0.0, "0001", NETWORK, [0.0, 0.0, 0.0], id="retryable-none"),
    ],
)
def test_draw_scales_the_back_off(way, draw, code, words, times):
    """A delay is its step of the schedule times the draw."""
    refused = rejection(MEMORIES, code, words)

    async def story(call: Caller, server: Provider) -> None:
        assert (await call("POST", LIST)).error is None
        assert server.asked_at == times

    play(way, MEMORIES, [refused, refused, SOUND[MEMORIES]], story, draw=draw)


def test_the_table_has_every_row():
    """Nine codes of the one document and forty-five of the other, none forgotten."""
    tables = (FATAL, REFUSED, CAPACITY, EXHAUSTED, PASSING, COOLDOWN)
    mine = {str(row[2]) for table in tables for row in table} | {"0000", "40114", "40300"}
    memories = "0000 0001 0003 0429 0409 0403 0401 0402 9009"
    memos = (
        "40000 40001 40002 40003 40004 40005 40007 40008 40010 40020 40021 40030 "
        "40100 40101 40102 40103 40110 40111 40112 40113 40114 40130 40132 "
        "40300 40301 40302 40303 40304 40305 40307 50000 50004 50005 50011 "
        "50100 50103 50104 50105 50106 50107 50108 50110 50120 50121 50123"
    )
    assert len(memos.split()) == 45
    assert mine - {"429", "40309"} == {*memories.split(), *memos.split()}
