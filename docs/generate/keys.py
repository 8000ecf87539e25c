"""The reference of policy files, from the table of keys that the builder reads."""

from resilience._core.policy import keys

_TABLES = (
    ("The file", "", keys.TOP),
    ("`[[envelope]]`", "How a JSON body says what happened.", keys.ENVELOPE),
    ("`failed_when`", "In an envelope.", keys.FAILED_WHEN),
    ("`[[endpoints]]`", "", keys.ENDPOINT),
    ("`limit`", "In an endpoint.", keys.LIMIT),
    (
        "Rules",
        "`[codes.X]`, `[families.X]`, `[http.X]`, `[exceptions.X]` and `[unknown]`.",
        keys.RULE,
    ),
    (
        "`[[codes.X.when]]`",
        "At least one condition, and what differs from the code's own rule then.",
        keys.CONDITION,
    ),
    (
        "`wait = { backoff = … }`",
        "Any other key is an argument of the generator. The last delay repeats.",
        keys.WAIT,
    ),
    ("`wait = { until = … }`", "A quota that comes back by the calendar.", keys.CALENDAR),
    ("`escalate`", "A daily cap looks just like a busy second.", keys.ESCALATE),
)


def tables() -> str:
    """A section a table."""
    return "\n".join(
        line for title, about, rows in _TABLES for line in _section(title, about, rows)
    )


def _section(title: str, about: str, rows: tuple[keys.Key, ...]) -> list[str]:
    return [
        f"## {title}",
        "",
        *([about, ""] if about else []),
        "| key | takes | default | |",
        "|---|---|---|---|",
        *(
            f"| `{key.name}` | {key.takes} | {key.default or '**must be there**'} "
            f"| {key.does}<br>`{key.name} = {key.example}` |".replace("…|", "…\\|")
            for key in rows
        ),
        "",
    ]
