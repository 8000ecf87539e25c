"""What is wrong with a policy file, all at once, each with its file and line.

First everything that would stop it from being loaded, then what can be loaded and can't be meant:
rules that nothing reaches (``shadows.py``), waits that no call waits out, retries that never happen
and quotas that nobody shares (``reach.py``).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resilience._core.policy import reach, shadows
from resilience._core.policy.build import build
from resilience._core.policy.positions import Document, Positions
from resilience._core.policy.section import Path, PolicyError, Problem, dotted
from resilience._core.policy.subject import Complaint, Limits, Severity, Subject, error

CHECKS: tuple[Callable[[Subject], Iterator[Complaint]], ...] = (
    shadows.hidden_whens,
    shadows.hidden_endpoints,
    shadows.hidden_functions,
    shadows.hidden_envelopes,
    shadows.hidden_families,
    shadows.hidden_exceptions,
    shadows.double_flags,
    shadows.codes_called_success,
    reach.long_waits,
    reach.slow_limits,
    reach.early_escalations,
    reach.retries_that_never_happen,
    reach.unshared_quotas,
    reach.unknown_methods,
)


def sentence(text: str) -> str:
    """With a full stop, unless it ends in a question mark."""
    return text if text.endswith(("?", ".")) else f"{text}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One problem, and where it was written."""

    file: str
    line: int
    key: str
    """Dotted: ``codes.0001.when[0].message``; empty if it is about the file."""
    check: str
    severity: Severity
    reason: str
    advice: str


def lint(documents: Sequence[Document], data: Mapping[str, Any], limits: Limits) -> list[Finding]:
    """Everything that is wrong, in the order of files and lines.

    Args:
        documents: the file itself first, then what it extends, and so on.
        data: all of them, merged.
        limits: what callers are going to allow.
    """
    problems: dict[Path, Problem] = {}

    def collect(found: PolicyError) -> None:
        if found.problem is not None:  # the first about a key: others follow from it
            problems.setdefault(found.problem.at, found.problem)

    table = build(data, source=documents[0].source, report=collect)
    positions = Positions(documents, data)
    # a key that nobody knows is in nobody's way
    broken = frozenset(at for at, p in problems.items() if p.check != "unknown-key")
    subject = Subject(data=data, table=table, positions=positions, broken=broken, limits=limits)
    complaints = [error(p.at, p.check, p.reason, p.advice) for p in problems.values()]
    for check in CHECKS:
        complaints += check(subject)
    order = {id(document): number for number, document in enumerate(documents)}
    placed = [(complaint, *positions.where(complaint.at)) for complaint in complaints]
    placed.sort(key=lambda one: (order[id(one[1])], one[2]))
    return [
        Finding(
            file=document.file, line=line, key=dotted(found.at), check=found.check,
            severity=found.severity, reason=sentence(found.reason), advice=sentence(found.advice),
        )
        for found, document, line in placed
    ]  # fmt: skip
