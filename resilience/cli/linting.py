"""Policy files for ``resilience lint``: what keeps one from being read is a finding, too."""

from collections import Counter
from collections.abc import Sequence

from resilience._core.policy.lint import Finding, lint, sentence
from resilience._core.policy.positions import Document, Positions
from resilience._core.policy.subject import Limits, Severity
from resilience._files import NotTomlError, chain, merged
from resilience.errors import PolicyError


def findings(name: str, limits: Limits) -> list[Finding]:
    """What is wrong with a file or catalog and all that it extends.

    Raises:
        PolicyError: there is no such file, or it can't be read.
    """
    documents: list[Document] = []
    try:
        for document in chain(name):
            documents.append(document)  # noqa: PERF402  # those before the bad one are needed
    except NotTomlError as error:
        return [_unreadable(error.file, error.line, "", "not-toml", f"Not TOML: {error.reason}")]
    except PolicyError as error:
        if not documents:
            raise
        last, reason = documents[-1], str(error).split("extends: ", 1)[-1]
        _, line = Positions([last], last.data).where(("extends",))
        return [_unreadable(last.file, line, "extends", "bad-value", reason)]
    return lint(documents, merged(documents), limits)


def _unreadable(file: str, line: int, key: str, check: str, reason: str) -> Finding:
    return Finding(
        file=file, line=line, key=key, check=check, severity=Severity.ERROR, reason=sentence(reason),
        advice="Correct it, and lint again: nothing else could be looked at.",
    )  # fmt: skip


def in_words(found: Finding) -> str:
    """What is wrong, without where."""
    key = f"{found.key}: " if found.key else ""
    return f"{key}{found.reason} {found.advice} [{found.check}]"


def summary(found: Sequence[Finding], files: Sequence[str]) -> str:
    """The last line."""
    counts = Counter(one.severity for one in found)
    told = [counted(counts[severity], severity.value) for severity in Severity if counts[severity]]
    return f"{counted(len(files), 'file')}: {', '.join(told) or 'nothing wrong'}"


def counted(number: int, thing: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
