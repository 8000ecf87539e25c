"""The keys of a policy file: what each takes, what holds without it, and what it does.

The builder accepts these and no others, and the reference of policy files is made from them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table."""

    name: str
    takes: str
    default: str
    """What holds if the key is left out; empty if it must be there."""
    does: str
    example: str
    """A value in TOML, for a table of the kind the key is for."""


_NOTHING = "none"

TOP = (
    Key("name", "text", "",
        "The provider's name; it is in records, errors and version hashes.", '"renderfarm"'),
    Key("extends", "text", _NOTHING,
        "A catalog or the path of another file (relative to this one). Tables merge key by key, "
        "endpoints by name; other arrays are replaced whole.", '"http"'),
    Key("docs", "URL", _NOTHING,
        "Where the codes are documented; holds for every rule without its own.",
        '"https://farm.example/docs"'),
    Key("hosts", "array of texts", _NOTHING,
        "The hosts that adapters touch, `name` or `name:port`. Requests to others pass through.",
        '["farm.example"]'),
    Key("envelope", "array of tables", _NOTHING,
        "The shapes of a JSON body, in order: the first whose `required` pointers are all there "
        "is used.", '[{ code = "/code" }]'),
    Key("endpoints", "array of tables", _NOTHING,
        "Named groups of calls. A call that none matches belongs to `other`.",
        '[{ name = "render" }]'),
    Key("groups", "table of arrays", _NOTHING,
        "Endpoints that share a quota: the group's name is a scope.", "{ drawing = [] }"),
    Key("codes", "table of rules", _NOTHING,
        "What each code means. Codes are texts, leading zeros kept: `[codes.0429]`.",
        '{ E_BUSY = { verdict = "quota" } }'),
    Key("families", "table of rules", _NOTHING,
        "Codes that are not listed, by pattern: an `x` stands for one digit. The pattern with "
        'the fewest `x` speaks. Only with `scope = "request"`.',
        '{ "4xx" = { verdict = "fatal" } }'),
    Key("http", "table of rules", _NOTHING,
        "HTTP statuses (`503`) and classes of them (`5xx`), for answers without a code.",
        '{ 503 = { verdict = "retryable" } }'),
    Key("exceptions", "table of rules", _NOTHING,
        "Exceptions, by the name of their class or of a class above it.",
        '{ TimeoutError = { verdict = "retryable" } }'),
    Key("unknown", "rule", '`verdict = "fatal"`',
        'What nothing else speaks about. Only with `scope = "request"`.', '{ verdict = "fatal" }'),
)  # fmt: skip

ENVELOPE = (
    Key("required", "array of JSON pointers", "always matches",
        "What the body must have to be read this way.", '["/code"]'),
    Key("code", "JSON pointer", _NOTHING,
        'Where the code is. A number counts as text: `429` is `"429"`.', '"/code"'),
    Key("message", "JSON pointer", _NOTHING,
        "Where the provider's message is.", '"/msg"'),
    Key("retry_after", "JSON pointer", _NOTHING,
        "Where the body says how many seconds to wait.", '"/retry_after"'),
    Key("success", "array of texts", _NOTHING,
        "Codes that mean success. A body with any other code is never a success, whatever its "
        "status.", '["0"]'),
    Key("failed_when", "array of tables", _NOTHING,
        'Fields that say "failed" beside or instead of a code; the first that holds counts.',
        '[{ at = "/success", equals = false }]'),
    Key("as_status", "table of arrays", _NOTHING,
        "Codes that mean what an HTTP status means, whatever status they came under: `{ 429 = "
        '["ThrottlingException"] }`. The rule of that status is applied, unless the code has '
        "its own.", '{ 429 = ["E_SLOW"] }'),
)  # fmt: skip

FAILED_WHEN = (
    Key("at", "JSON pointer", "",
        "Which field is looked at.", '"/failed"'),
    Key("equals", "text, number, true or false", "`true`",
        "The value that means failed; `1` is not `true`.", "true"),
    Key("matches", "regular expression", _NOTHING,
        "Instead of `equals`: a text in which this is found means failed.", '"(?i)error"'),
    Key("code", "text", _NOTHING,
        "The code that this failure is given, so that a rule can speak about it.", '"E_FLAG"'),
)  # fmt: skip

ENDPOINT = (
    Key("name", "text", "",
        "Its name, in options, errors, records and snapshots.", '"render"'),
    Key("match", "array of texts", _NOTHING,
        'A method and a path, `*` standing for anything: `"POST */list_videos"`, `"* /v2/*"`. '
        "The first endpoint that matches has the request.", '["POST */render"]'),
    Key("functions", "array of texts", _NOTHING,
        "Names of functions and methods that belong to it, where they differ from its own name.",
        '["start_render"]'),
    Key("repeat", "`safe`, `once` or `never`", "by the HTTP method",
        "What to do after an attempt that may have been done: repeat it, repeat it once, or "
        "don't. GET, HEAD and OPTIONS are safe, all else is not.", '"safe"'),
    Key("duplicate", "`done` or `error`", "`error`",
        '`done`: if an attempt of ours got lost and the next is told "this exists", the call '
        "succeeded.", '"done"'),
    Key("limit", "table", _NOTHING,
        "The documented rate, for people and for `resilience lint`. Calls go at the rate that is "
        "measured.",
        "{ calls = 5, per = 1.0 }"),
    Key("docs", "URL", _NOTHING,
        "Where it is documented.", '"https://farm.example/docs/render"'),
)  # fmt: skip

LIMIT = (
    Key("calls", "number above 0", "1",
        "Units in one window: calls, or what `cost=` counts.", "5"),
    Key("per", "seconds", "1",
        "Length of the window.", "1.0"),
)  # fmt: skip

RULE = (
    Key("verdict", "`success`, `retryable`, `quota` or `fatal`", "",
        "What kind of answer it is.", '"quota"'),
    Key("recovers", "`window`, `cooldown`, `exhausted` or `capacity`", "`window`",
        "How a quota comes back: in a moment, after a known time, when somebody pays, or not by "
        "waiting.", '"window"'),
    Key("scope", "`request`, `endpoint`, `account` or a group", "`request`",
        "Whom a rejection concerns. All calls in the scope wait together.", '"account"'),
    Key("wait", "seconds or a table", "`expo` from 1 s to 30 s",
        "How long, if the server gives no hint: a number, `{ backoff = … }` or `{ until = … }`.",
        "2.0"),
    Key("jitter", "`full`, `equal` or `none`", "`equal` for a quota, else `full`; `none` for a number",
        "From where a wait is drawn: 0, one half of it, or no draw.", '"none"'),
    Key("max_attempts", "whole number above 0", "the caller's",
        "Attempts in all, the first included. The smaller of this and the caller's holds.", "3"),
    Key("certainty", "`not_executed`, `maybe_executed` or `executed`",
        "`maybe_executed` for retryable and for `unknown`, else `not_executed`",
        "Whether the server did the work although it answered so. It decides whether the call "
        "may be repeated.", '"not_executed"'),
    Key("probe_every", "seconds", "300",
        "While exhausted, one call in this time finds out whether it still is.", "60.0"),
    Key("escalate", "table", _NOTHING,
        "When a window that stays shut counts as exhausted.", "{ rejections = 20, within = 180 }"),
    Key("duplicate", "true or false", "`false`",
        "The code says that this was done before.", "true"),
    Key("title", "text", _NOTHING,
        "The provider's words for the code.", '"The farm is busy"'),
    Key("remedy", "text", _NOTHING,
        "What a person should do.", '"Wait a moment."'),
    Key("docs", "URL", "the policy's",
        "Where it is documented.", '"https://farm.example/docs/codes"'),
    Key("edition", "text", _NOTHING,
        "Which document has it, if not all do.", '"2026"'),
    Key("aliases", "array of texts", _NOTHING,
        "Other spellings of the code. Only under `codes`.", '["busy"]'),
    Key("when", "array of tables", _NOTHING,
        "Other rules for the same code under a condition, first match first. Only under "
        "`codes`.", '[{ message = "licence", verdict = "fatal" }]'),
)  # fmt: skip

CONDITION = (
    Key("message", "regular expression", _NOTHING,
        "Found in the provider's message.", '"(?i)busy"'),
    Key("status", "whole number", _NOTHING,
        "The HTTP status.", "200"),
    Key("endpoint", "name", _NOTHING,
        "The endpoint of the call.", '"render"'),
)  # fmt: skip

WAIT = (
    Key("backoff", "name", "",
        "A wait generator of the `backoff` package (`expo`, `fibo`, `constant`, …); its "
        "arguments stand beside it (`factor`, `base`, `max_value`, `interval`).", '"expo"'),
)  # fmt: skip
"""The table with a generator; further keys are its arguments."""

CALENDAR = (
    Key("until", "time of day", "",
        "The next `HH:MM`, or `midnight`.", '"midnight"'),
    Key("tz", "IANA time zone", "`UTC`",
        "Where that time is.", '"Asia/Shanghai"'),
)  # fmt: skip
"""The table with an instant."""

ESCALATE = (
    Key("rejections", "whole number above 0", "never",
        "After so many closings in a row.", "20"),
    Key("within", "seconds", "never",
        "Or this long after the first of them.", "180"),
    Key("to", "`exhausted`", "`exhausted`",
        "What it becomes.", '"exhausted"'),
)  # fmt: skip


def names(*tables: tuple[Key, ...]) -> tuple[str, ...]:
    """The names in these tables, sorted."""
    return tuple(sorted(key.name for table in tables for key in table))
