"""The tables of codes, endpoints and statuses, from the catalogs as they are loaded."""

import re
from collections.abc import Iterable, Iterator, Mapping

from resilience import Policy, Rule, catalogs
from resilience.cli import words

_COLUMNS = ("code", "verdict", "wait", "scope", "meaning, and what to do")


_ABOUT = """Made from the catalog `{policy.version}`, which is what `Guard("{policy.name}")` does.
`resilience explain {policy.name} CODE` tells the same about one code, in sentences."""


def pages() -> dict[str, str]:
    """One page a catalog, by its place in the site."""
    return {f"reference/codes/{name}.md": _page(Policy.load(name)) for name in catalogs()}


def _page(policy: Policy) -> str:
    return "\n".join(
        [
            "---",
            "hide: [toc]",
            "---",
            f"# Codes of `{policy.name}`",
            "",
            _ABOUT.format(policy=policy),
            "",
            *_hosts(policy),
            *_codes(policy),
            *_rules("Families", "Codes that no table lists.", policy.table.families),
            *_rules(
                "HTTP statuses",
                "For answers without a code.",
                {**policy.table.http, **policy.table.http_families},
            ),
            *_rules("Exceptions", "By class.", policy.table.exceptions),
            *_rules("Everything else", "", {"unknown": policy.table.unknown}),
            *_endpoints(policy),
        ]
    )


def _hosts(policy: Policy) -> Iterator[str]:
    if policy.hosts:
        yield f"Adapters touch {', '.join(f'`{host}`' for host in policy.hosts)}."
        yield ""
    if policy.table.docs:
        yield f"Documented at <{policy.table.docs}>."
        yield ""


def _codes(policy: Policy) -> Iterator[str]:
    if not policy.table.codes:
        return
    yield from ("## Codes", "", *_head(_COLUMNS))
    for code, entry in policy.table.codes.items():
        if entry.rule.key != f"codes.{code}":  # an alias: told beside its code
            continue
        names = [code, *_aliases(policy, code)]
        yield _row([_names(names, entry.rule), *_cells(entry.rule)])
        for when in entry.when:
            asked = words.condition(when, policy.explain(code))
            if_so = " and ".join(
                f"{key} `{asked[key]}`" for key in ("message", "status", "endpoint") if key in asked
            )
            yield _row([f"`{code}`<br>if {if_so}", *_cells(when.rule)])
    yield ""


def _aliases(policy: Policy, code: str) -> list[str]:
    key = f"codes.{code}"
    return [
        other
        for other, entry in policy.table.codes.items()
        if other != code and entry.rule.key == key
    ]


def _names(codes: Iterable[str], rule: Rule) -> str:
    shown = ", ".join(f"`{code}`" for code in codes)
    anchor = rule.key.removeprefix("codes.")
    return f'<span id="{anchor}"></span>{shown}'


def _rules(title: str, about: str, rules: Mapping[str, Rule]) -> Iterator[str]:
    if not rules:
        return
    yield from (f"## {title}", "", about, "", *_head(_COLUMNS))
    for key, rule in rules.items():
        yield _row([f"`{key}`", *_cells(rule)])
    yield ""


def _cells(rule: Rule) -> list[str]:
    recovers = words.recovers(rule)
    verdict = f"{rule.verdict.value}, {recovers}" if recovers else rule.verdict.value
    if rule.max_attempts is not None:
        verdict += f", {rule.max_attempts} tries"
    edition = f" *({rule.edition})*" if rule.edition else ""
    where = f" ([docs]({rule.docs}))" if rule.docs else ""
    about = f"**{rule.title}**{edition}{where}<br>{rule.remedy}"
    return [verdict, words.short_wait(rule), rule.scope, about]


def _endpoints(policy: Policy) -> Iterator[str]:
    if not policy.endpoints:
        return
    yield from ("## Endpoints", "", *_head(("endpoint", "calls", "repeat", "documented limit")))
    for endpoint in policy.endpoints.values():
        calls = "<br>".join(f"`{pattern}`" for pattern in (*endpoint.match, *endpoint.functions))
        repeat = endpoint.repeat.value if endpoint.repeat else ""
        limit = (
            f"{endpoint.limit[0]:g} in {words.span(endpoint.limit[1])}" if endpoint.limit else ""
        )
        yield _row([f"`{endpoint.name}`", calls, repeat, limit])
    yield ""


def _head(columns: Iterable[str]) -> list[str]:
    names = list(columns)
    return [_row(names), _row(["---"] * len(names))]


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(re.sub(r"`[^`]*`|\|", _unbarred, cell) for cell in cells) + " |"


def _unbarred(found: re.Match[str]) -> str:
    """A bar that ends no cell; inside code it needs no help."""
    return "&#124;" if found[0] == "|" else found[0]
