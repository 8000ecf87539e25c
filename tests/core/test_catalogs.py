"""Every code of both seed documents, and of their newer editions, as written down by hand.

The tables come from the two documents, the decisions of issue 2 and the facts about the APIs; they
are never derived from the catalogs.  ``S R Q F`` are the verdicts; for a quota the kind, for a
retryable the certainty.  A wait is a number of seconds, ``expo a..b``, or a calendar.
"""

from dataclasses import dataclass

import pytest

from resilience import Certainty, Policy, Recovers, Rule, Verdict

VERDICTS = {"S": Verdict.SUCCESS, "R": Verdict.RETRYABLE, "Q": Verdict.QUOTA, "F": Verdict.FATAL}
PARTS = {
    "not": Certainty.NOT_EXECUTED,
    "maybe": Certainty.MAYBE_EXECUTED,
    "done": Certainty.EXECUTED,
}


@dataclass(frozen=True)
class Expected:
    """What a person reading the documents says about one code."""

    verdict: str
    kind: str | None = None
    scope: str = "request"
    wait: str | float | None = None
    tries: int | None = None
    work: str | None = None
    probe: float | None = None
    duplicate: bool = False


def fatal(scope: str = "request", **more) -> Expected:
    """Repeating can't help."""
    return Expected("F", scope=scope, work=more.pop("work", "not"), **more)


def capacity() -> Expected:
    """Full storage: fails at once, blocks nobody."""
    return Expected("Q", "capacity", "request")


MEMORIES = {
    # -- the Code page (v1.1; the seed) --
    "0000": Expected("S"),
    "0001": fatal(),
    "0003": fatal(),
    "0429": Expected("Q", "window", "endpoint", "expo 1..32", work="not"),
    "0409": fatal(duplicate=True),
    "0403": fatal("account"),
    "0401": fatal("account"),
    "0402": Expected("Q", "exhausted", "account"),
    "9009": fatal("account"),
    # -- other spellings of success --
    "SUCCESS": Expected("S"),
    "0": Expected("S"),
    "200": Expected("S"),
    # -- Visual Intelligence v2: integers --
    "429": Expected("Q", "window", "endpoint", "expo 1..32", work="not"),
    "409": fatal(duplicate=True),
    "401": fatal("account"),
    "402": Expected("Q", "exhausted", "account"),
    "400": fatal(),
    "403": fatal("account"),
    "405": fatal(),
    "415": fatal(),
    "500": Expected("R", work="maybe"),
    "errored": fatal(work="maybe"),
    # -- Understand --
    "-1": fatal(work="maybe"),
    # -- Stream --
    "16": Expected("Q", "window", "endpoint"),
    # -- Datalake --
    "video_not_ready": Expected("R", work="not"),
    "quota_exceeded": Expected("Q", "exhausted", "account"),
}

MEMOS = {
    # -- parameter errors (seed) --
    "40000": fatal(),
    "40001": fatal(),
    "40002": fatal(),
    "40003": fatal(),
    "40004": fatal(),
    "40005": fatal(),
    "40007": fatal(),
    "40008": fatal(),
    "40010": fatal(),
    "40020": fatal(),
    "40021": fatal(),
    "40030": fatal(),
    # -- authentication and permission (seed) --
    "40100": fatal(),
    "40101": fatal(),
    "40102": fatal(),
    "40103": fatal(),
    "40110": fatal(),
    "40111": fatal(),
    "40112": Expected("Q", "cooldown", "console", 600.0),
    "40113": Expected("Q", "cooldown", "console", 60.0),
    "40114": Expected("Q", "exhausted", "console", "midnight Asia/Shanghai"),
    "40130": fatal("account"),
    "40132": fatal("account"),
    # -- quota and rate limit (seed): half of it is about the request --
    "40300": Expected("Q", "window", "account", 60.0),
    "40301": Expected("Q", "exhausted", "chat"),
    "40302": Expected("Q", "exhausted", "chat"),
    "40303": fatal(),
    "40304": Expected("Q", "exhausted", "account", probe=3600.0),
    "40305": fatal(),
    "40307": fatal(),
    # -- system and service (seed) --
    "50000": Expected("R", wait="expo 2..30", tries=3, work="maybe"),
    "50004": Expected("R", wait="expo 1..30", tries=5, work="not"),
    "50005": Expected("R", wait="expo 1..30", tries=5, work="not"),
    "50011": Expected("R", tries=3, work="not"),
    # -- knowledge base and files (seed) --
    "50100": fatal(),
    "50103": capacity(),
    "50104": fatal(),
    "50105": capacity(),
    "50106": fatal(),
    "50107": fatal(),
    "50108": capacity(),
    "50110": fatal(),
    "50120": fatal(),
    "50121": capacity(),
    "50123": fatal(),
    # -- success, in the older edition --
    "0": Expected("S"),
    "200": Expected("S"),
    # -- newer editions --
    "40006": fatal(),
    "40009": fatal(),
    "40011": fatal(),
    "40012": fatal(),
    "40013": fatal(),
    "40306": fatal(),
    "40308": fatal(),
    "40309": Expected("Q", "window", "account", "expo 2..60", work="not"),
    "50002": Expected("R", tries=3, work="maybe"),
    "50131": fatal(),
    "50143": Expected("R", tries=2, work="maybe"),
    "50144": Expected("R", tries=2, work="maybe"),
    "50145": Expected("R", tries=2, work="maybe"),
}

SEEDS = {
    "memories_ai": {"0000", "0001", "0003", "0429", "0409", "0403", "0401", "0402", "9009"},
    "memos_cloud": {
        "40000", "40001", "40002", "40003", "40004", "40005", "40007", "40008", "40010", "40020",
        "40021", "40030", "40100", "40101", "40102", "40103", "40110", "40111", "40112", "40113",
        "40114", "40130", "40132", "40300", "40301", "40302", "40303", "40304", "40305", "40307",
        "50000", "50004", "50005", "50011", "50100", "50103", "50104", "50105", "50106", "50107",
        "50108", "50110", "50120", "50121", "50123",
    },
}  # fmt: skip

TABLES = {"memories_ai": MEMORIES, "memos_cloud": MEMOS}
POLICIES = {name: Policy.load(name) for name in (*TABLES, "http")}

EVERY_CODE = [
    pytest.param(name, code, expected, id=f"{name}-{code}")
    for name, table in TABLES.items()
    for code, expected in table.items()
]
EVERY_RULE = [
    pytest.param(rule, id=f"{name}-{rule.key}")
    for name, policy in POLICIES.items()
    for rule in [
        *(entry.rule for entry in policy.table.codes.values()),
        *(when.rule for entry in policy.table.codes.values() for when in entry.when),
        *policy.table.families.values(),
        *policy.table.http.values(),
        *policy.table.http_families.values(),
    ]
]


def body(name: str, code: str, message: str = "said") -> dict[str, object]:
    """The code in the provider's own envelope."""
    envelopes = {
        "memories_ai": {"code": code, "msg": message, "data": None},
        "memos_cloud": {"code": code, "message": message, "data": None},
    }
    return envelopes[name]


def check_wait(rule: Rule, expected: str | float) -> None:
    """A number, ``expo a..b`` or ``midnight ZONE``."""
    schedule = rule.wait.schedule
    if isinstance(expected, float):
        assert ((expected,), 1.0, None) == (schedule, rule.wait.low, rule.wait.until)
    elif expected.startswith("expo"):
        first, last = map(float, expected.removeprefix("expo ").split(".."))
        assert (first, min(2 * first, last), last) == (schedule[0], schedule[1], schedule[-1])
    else:
        assert rule.wait.until is not None
        assert expected == f"midnight {rule.wait.until.tz}"
        assert rule.wait.until.time == "00:00"


@pytest.mark.parametrize(("name", "code", "expected"), EVERY_CODE)
@pytest.mark.parametrize("status", [200, 204])
def test_code_means_what_the_documents_say(name, code, expected, status):
    """Every row of both documents, whatever successful status it hides behind."""
    found = POLICIES[name].classify(body(name, code), status=status)

    assert VERDICTS[expected.verdict] == found.verdict
    assert code == found.code
    assert (Recovers(expected.kind) if expected.kind else None) == found.recovers
    assert expected.scope == found.scope
    if expected.work:
        assert PARTS[expected.work] == found.certainty
    if expected.wait is not None:
        check_wait(found.rule, expected.wait)
    if expected.probe is not None:
        assert expected.probe == found.rule.probe_every
    if expected.verdict != "S":
        assert expected.tries == found.rule.max_attempts
        assert expected.duplicate == found.rule.duplicate


@pytest.mark.parametrize(("name", "code", "expected"), EVERY_CODE)
def test_failing_code_is_a_failure_under_every_status(name, code, expected):
    """A non-success code means the same under 400 and 503 as under 200, a success code does not."""
    for status in (400, 503):
        found = POLICIES[name].classify(body(name, code), status=status)

        if expected.verdict == "S":
            assert f"http.{status}" == found.matched_by
        else:
            assert VERDICTS[expected.verdict] == found.verdict


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_complete(name):
    """Each seed row has an expectation, and the catalog lists nothing that nobody thought about."""
    assert SEEDS[name] <= set(TABLES[name])
    assert set(TABLES[name]) == set(POLICIES[name].codes)


@pytest.mark.parametrize("name", TABLES)
def test_newer_codes_say_where_they_come_from(name):
    """What the seed document does not have carries its edition, and only that."""
    rules = [entry.rule for entry in POLICIES[name].table.codes.values()]
    own = {rule.key.removeprefix("codes."): bool(rule.edition) for rule in rules}

    assert {code: code not in SEEDS[name] for code in own} == own


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_every_rule_helps(rule):
    """Every rule of a catalog has a title, a remedy and a link."""
    assert rule.title
    assert rule.remedy
    assert rule.docs.startswith("https://")


@pytest.mark.parametrize("name", POLICIES)
def test_every_exception_rule_has_a_title_and_a_link(name):
    """Exceptions explain themselves too."""
    for rule in POLICIES[name].table.exceptions.values():
        assert rule.title, rule.key
        assert rule.docs.startswith("https://"), rule.key


@pytest.mark.parametrize("name", POLICIES)
def test_default_wait_of_a_request_quota_is_spread_over_its_upper_half(name):
    """A quota is never knocked at before half of its wait; a retry may come at any time."""
    for rule in POLICIES[name].table.codes.values():
        steps = len(set(rule.rule.wait.schedule)) > 1
        if steps and rule.rule.verdict is Verdict.QUOTA and rule.rule.recovers is Recovers.WINDOW:
            assert rule.rule.wait.low == 0.5


WHEN = [
    # 0001: fatal unless the text says that it is passing; then at most three quick tries
    ("memories_ai", "0001", "Transient network abnormal", "other", "R", 3),
    ("memories_ai", "0001", "network abnormal", "list", "R", 3),
    ("memories_ai", "0001", "Read timeout", "other", "R", 3),
    ("memories_ai", "0001", "System is BUSY", "other", "R", 3),
    ("memories_ai", "0001", "video not found", "other", "F", None),
    ("memories_ai", "0001", "No static resource api.", "other", "F", None),
    ("memories_ai", "0003", "network abnormal", "other", "F", None),
    # 0409: a duplicate unless the text says busy
    ("memories_ai", "0409", "Service is busy, try later", "other", "R", None),
    ("memories_ai", "0409", "Duplicate requests are not allowed", "delete", "F", None),
    # v2's trap: the text of a rate limit on any bad id; bounded, closes no door
    ("memories_ai", "400", "Request has exceeded the limit.", "other", "R", 2),
    ("memories_ai", "400", "asset_id cannot be null or empty", "other", "F", None),
    ("memories_ai", "-1", "failure: Request has exceeded the limit.", "caption", "Q", None),
    (
        "memories_ai",
        "-1",
        "failure: Video file size exceeds the limit of 110MB",
        "caption",
        "F",
        None,
    ),
    ("memories_ai", "-1", "failure: Failed to upload file", "caption", "F", None),
    ("memories_ai", "errored", "cannot fetch the video", "vlm", "F", None),
    ("memories_ai", "errored", "Rate limit reached", "vlm", "R", 3),
    # in a chat the answer exists, only saving it failed: never ask again
    ("memos_cloud", "50144", "Failed to add message", "add_message", "R", 2),
    ("memos_cloud", "50144", "Failed to add message", "chat", "F", None),
]


@pytest.mark.parametrize(("name", "code", "message", "endpoint", "verdict", "tries"), WHEN)
def test_ambiguous_codes_are_told_apart(name, code, message, endpoint, verdict, tries):
    """The codes that say two things are decided by their message or endpoint, with a bound."""
    found = POLICIES[name].classify(body(name, code, message), status=200, endpoint=endpoint)

    assert VERDICTS[verdict] == found.verdict
    if verdict == "R":
        assert tries == found.rule.max_attempts
        assert found.scope == "request"


def test_passing_0001_is_quick():
    """Three tries within seconds, as the vendor's own client does: 0.4 s, doubling."""
    found = POLICIES["memories_ai"].classify({"code": "0001", "msg": "network"}, status=200)

    assert found.rule.wait.schedule[:4] == (0.4, 0.8, 1.6, 2.0)
    assert found.certainty == Certainty.MAYBE_EXECUTED


def test_busy_0409_is_no_duplicate():
    """Its busy form must not end as AlreadyDone."""
    found = POLICIES["memories_ai"].classify({"code": "0409", "msg": "Service is busy"}, status=200)

    assert not found.rule.duplicate


@pytest.mark.parametrize(
    ("name", "code", "rejections"),
    [("memos_cloud", "40300", 2), ("memories_ai", "0429", 20)],
)
def test_windows_that_look_like_daily_caps_escalate(name, code, rejections):
    """40300 counts as exhausted after two rejections, 0429 after twenty or three minutes."""
    rule = POLICIES[name].codes[code]

    assert rule.escalate is not None
    assert (rejections, 180.0) == (rule.escalate.rejections, rule.escalate.within)


def test_true_rate_window_never_escalates():
    """40309 is a window of a minute, however often it is hit."""
    assert POLICIES["memos_cloud"].codes["40309"].escalate is None


@pytest.mark.parametrize("code", ["40303", "40305", "40307"])
def test_misfiled_codes_say_why_they_are_fatal(code):
    """They stand in the quota section of the page, so their text explains the disagreement."""
    assert "quota" in POLICIES["memos_cloud"].codes[code].remedy


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [
        ("delete_memory", "40307"),
        ("delete_knowledgebase_file", "50100"),
        ("delete_knowledgebase", "50120"),
    ],
)
def test_deleting_twice_is_a_duplicate_only_where_something_is_deleted(endpoint, code):
    """After our own lost reply "does not exist" means done, and elsewhere a wrong id."""
    policy = POLICIES["memos_cloud"]

    assert policy.classify(body("memos_cloud", code), endpoint=endpoint).rule.duplicate
    assert not policy.classify(body("memos_cloud", code), endpoint="get_memory").rule.duplicate
    assert policy.endpoints[endpoint].duplicate_is_done


@pytest.mark.parametrize(
    ("code", "verdict", "family"),
    [
        ("40099", "F", "400xx"),
        ("40199", "F", "401xx"),
        ("40399", "F", "403xx"),
        ("50099", "R", "500xx"),
        ("50199", "F", "501xx"),
    ],
)
def test_unlisted_codes_of_memos_go_by_their_section(code, verdict, family):
    """A family closes no door and promises nothing."""
    found = POLICIES["memos_cloud"].classify({"code": int(code), "message": ""}, status=200)

    assert (VERDICTS[verdict], f"families.{family}", "request") == (
        found.verdict, found.matched_by, found.scope,
    )  # fmt: skip


REPEAT = {
    "memories_ai": {
        "safe": ["list", "task", "search", "scrape", "transcription", "summary", "delete", "sessions",
                 "datalake_read", "datalake_search"],
        "never": ["upload", "upload_image", "caption", "v2_upload", "v2_job", "datalake_ingest"],
        "once": ["chat", "vlm"],
    },
    "memos_cloud": {
        "safe": ["get_status", "search_memory", "get_memory", "get_message", "update_memory",
                 "delete_memory", "extract_memory", "rerank", "get_knowledgebase_file"],
        "never": ["create_knowledgebase", "add_knowledgebase_file", "add_feedback"],
        "once": ["add_message", "chat"],
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "repeat", "endpoint"),
    [(n, r, e) for n, table in REPEAT.items() for r, names in table.items() for e in names],
)
def test_endpoints_say_whether_they_may_be_repeated(name, repeat, endpoint):
    """Reads are safe although they are POSTs; what is billed or not idempotent is not."""
    assert repeat == POLICIES[name].endpoints[endpoint].repeat


REQUESTS = [
    ("memories_ai", "POST", "/serve/api/v1/upload", "upload"),
    ("memories_ai", "POST", "/serve/api/v1/upload_url", "upload"),
    ("memories_ai", "POST", "/serve/api/v1/upload_img", "upload_image"),
    ("memories_ai", "post", "/serve/api/v1/list_videos", "list"),
    ("memories_ai", "GET", "/serve/api/v1/get_metadata", "list"),
    ("memories_ai", "GET", "/serve/api/v1/get_video_ids_by_task_id", "task"),
    ("memories_ai", "POST", "/serve/api/v1/delete_videos", "delete"),
    ("memories_ai", "POST", "/serve/api/v1/scraper_url_public", "scrape"),
    ("memories_ai", "POST", "/serve/api/v1/chat_stream", "chat"),
    ("memories_ai", "POST", "/serve/api/v2/upload", "v2_upload"),
    ("memories_ai", "POST", "/serve/datalake/v1/videos", "datalake_ingest"),
    ("memories_ai", "GET", "/serve/datalake/v1/operations/op_1", "datalake_read"),
    ("memories_ai", "GET", "/serve/api/v1/list_videos_of_nobody", "other"),
    ("memories_ai", "DELETE", "/serve/api/v1/upload", "other"),
    ("memos_cloud", "POST", "/api/openmem/v1/add/message", "add_message"),
    ("memos_cloud", "POST", "/api/openmem/v1/get/status", "get_status"),
    ("memos_cloud", "GET", "/api/openmem/v1/get/memory/m1", "get_memory"),
    ("memos_cloud", "POST", "/api/openmem/v1/chat", "chat"),
    ("memos_cloud", "POST", "/api/openmem/v1/delete/knowledgebase", "delete_knowledgebase"),
    (
        "memos_cloud",
        "POST",
        "/api/openmem/v1/delete/knowledgebase-file",
        "delete_knowledgebase_file",
    ),
    ("memos_cloud", "POST", "/api/openmem/v1/add/tool", "other"),
]


@pytest.mark.parametrize(("name", "method", "path", "endpoint"), REQUESTS)
def test_requests_find_their_endpoint(name, method, path, endpoint):
    """By method and path, the narrow ones first; never a raw URL."""
    assert endpoint == POLICIES[name].table.endpoint_of_request(method, path)


@pytest.mark.parametrize(
    ("name", "function", "endpoint"),
    [
        ("memories_ai", "list_videos", "list"),
        ("memories_ai", "upload", "upload"),
        ("memories_ai", "something_else", "other"),
        ("memos_cloud", "add_message", "add_message"),
        ("memos_cloud", "get_status", "get_status"),
        ("memos_cloud", "chat", "chat"),
    ],
)
def test_functions_find_their_endpoint(name, function, endpoint):
    """``client.list_videos`` is the endpoint ``list``, because its path ends so."""
    assert endpoint == POLICIES[name].table.endpoint_of_function(function)


def test_polling_has_its_documented_rates():
    """The starting ceilings that the pages of 2026 name."""
    endpoints = POLICIES["memories_ai"].endpoints

    assert endpoints["list"].limit == (5.0, 1.0)
    assert endpoints["task"].limit == (1.0, 1.0)
    assert endpoints["upload"].limit == (1.0, 60.0)
    assert endpoints["download"].limit == (12.0, 60.0)


def test_chat_tokens_concern_only_chat():
    """The groups of MemOS hold exactly the endpoints that their codes speak about."""
    groups = POLICIES["memos_cloud"].table.groups

    assert {"console": {"console"}, "chat": {"chat"}} == {k: set(v) for k, v in groups.items()}


DIALECTS = [
    pytest.param({"code": "0000", "msg": "success", "data": {}, "success": True, "failed": False},
                 200, "S", "0000", id="v1 success"),
    pytest.param({"code": "0429", "msg": "Request has exceeded the limit."}, 200, "Q", "0429", id="v1 limit"),
    pytest.param({"code": "0000", "msg": "x", "data": None, "success": False}, 200, "F", None, id="flag success=false"),
    pytest.param({"code": "0000", "msg": "x", "data": None, "failed": True}, 200, "F", None, id="flag failed=true"),
    pytest.param({"code": 200, "msg": "success", "data": {}}, 200, "S", "200", id="v2 success"),
    pytest.param({"code": 429, "msg": "Rate limit exceeded", "data": None}, 429, "Q", "429", id="v2 limit"),
    pytest.param({"code": 401, "msg": "Unauthorized", "data": None}, 401, "F", "401", id="v2 auth"),
    pytest.param({"code": 0, "msg": "success", "data": {"task_id": "t"}}, 200, "S", "0", id="understand success"),
    pytest.param({"code": "SUCCESS", "data": "Done"}, 200, "S", "SUCCESS", id="chat done"),
    pytest.param({"code": "SUCCESS", "data": "Error"}, 200, "F", None, id="chat error"),
    pytest.param({"code": "SUCCESS", "data": "user don't login"}, 200, "F", "0401", id="chat login"),
    pytest.param({"code": "SUCCESS", "data": "Video is not parsed:VI1"}, 200, "F", None, id="chat before PARSE"),
    pytest.param({"code": "SUCCESS", "data": "done"}, 200, "S", "SUCCESS", id="chat done, in small letters"),
    pytest.param({"code": "SUCCESS", "data": {"text": "x"}}, 200, "S", "SUCCESS", id="no text in data"),
    pytest.param({"code": 200, "message": "SUCCESS", "data": {}, "task_id": "t"}, 200, "S", "200", id="v2 webhook"),
    pytest.param({"status": 16, "task_id": "t", "text": "Capacity"}, 200, "Q", "16", id="stream full"),
    pytest.param({"status": 0, "task_id": "t", "text": ""}, 200, "S", None, id="stream ok"),
    pytest.param({"status": 14, "task_id": "t"}, 200, "S", None, id="stream stopped"),
    pytest.param({"status": "errored", "error": {"message": "no"}}, 200, "F", "errored", id="vlm errored"),
    pytest.param({"status": "completed", "choices": [{"text": "x"}]}, 200, "S", None, id="vlm ok"),
    pytest.param({"error": {"code": "video_not_ready", "message": "m", "request_id": "r", "retry_after": 12}},
                 409, "R", "video_not_ready", id="datalake not ready"),
    pytest.param({"error": {"code": "conflict", "message": "m", "request_id": "r"}}, 409, "F", "conflict",
                 id="datalake: not every 409 is not-ready"),
    pytest.param({"error": {"code": "quota_exceeded", "message": "m"}}, 402, "Q", "quota_exceeded", id="datalake 402"),
    pytest.param({"operation": "op_1", "done": True, "error": {"code": "bad", "message": "m"}}, 200, "S", None,
                 id="datalake: a failed job is a result"),
    pytest.param({"timestamp": "t", "path": "/x", "status": 404, "error": "Not Found"}, 404, "F", "404", id="spring 404"),
    pytest.param({"timestamp": "t", "path": "/x", "status": 503, "error": "x"}, 503, "R", "503", id="spring 503"),
    pytest.param({"video_id": "vid_1", "status": "processing"}, 202, "S", None, id="datalake bare resource"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "status", "verdict", "code"), DIALECTS)
def test_five_surfaces_of_memories(answer, status, verdict, code):
    """Each envelope of Memories.ai is recognised, and a failed job is not a failed call."""
    found = POLICIES["memories_ai"].classify(answer, status=status)

    assert VERDICTS[verdict] == found.verdict
    if code:
        assert code == found.code


def test_datalake_tells_how_long_in_its_body():
    """``retry_after`` of the error is a hint."""
    error = {"code": "video_not_ready", "message": "m", "request_id": "r", "retry_after": 12}
    found = POLICIES["memories_ai"].classify({"error": error}, status=409)

    assert found.hint is not None
    assert (found.hint.seconds, found.hint.source) == (12.0, "body")


def test_an_error_at_the_end_of_a_chat_is_its_message():
    """There is no ``msg`` beside it: what ``data`` says is all that the provider says."""
    for words in (
        "Error",
        "Video is not parsed:",
        "No videos found for the provided video numbers.",
    ):
        found = POLICIES["memories_ai"].classify({"code": "SUCCESS", "data": words}, status=200)

        assert found.message == words


def test_failed_task_of_memos_is_a_result():
    """``data.status: failed`` in a code-0 reply is how a task ended; ``success: false`` is not."""
    policy = POLICIES["memos_cloud"]
    task = {"code": 0, "message": "ok", "data": {"task_id": "t", "status": "failed"}}
    refused = {"code": 0, "message": "ok", "data": {"success": False}}
    lying = {"code": 40132, "message": "no", "data": {"success": True}}

    assert policy.classify(task, status=200).verdict == Verdict.SUCCESS
    assert policy.classify(refused, status=200).verdict == Verdict.FATAL
    assert policy.classify(lying, status=200).matched_by == "codes.40132"


ALL_WHEN = {
    ("memories_ai", "0001", 0): "R maybe 3",
    ("memories_ai", "0409", 0): "R not None",
    ("memories_ai", "400", 0): "R not 2",
    ("memories_ai", "400", 1): "F not None",
    ("memories_ai", "errored", 0): "R maybe 3",
    ("memories_ai", "-1", 0): "Q not None",
    ("memos_cloud", "40307", 0): "F not None",
    ("memos_cloud", "50100", 0): "F not None",
    ("memos_cloud", "50120", 0): "F not None",
    ("memos_cloud", "50144", 0): "F done None",
}


def test_every_condition_is_expected():
    """Verdict, certainty and attempts of each ``when``, and no condition that nobody thought about."""
    found = {
        (name, code, n): when.rule
        for name, policy in POLICIES.items()
        for code, entry in policy.table.codes.items()
        if entry.rule.key == f"codes.{code}"
        for n, when in enumerate(entry.when)
    }

    assert set(ALL_WHEN) == set(found)
    for key, expected in ALL_WHEN.items():
        verdict, work, tries = expected.split()
        rule = found[key]
        assert (VERDICTS[verdict], PARTS[work], tries) == (
            rule.verdict, rule.certainty, str(rule.max_attempts),
        ), key  # fmt: skip
