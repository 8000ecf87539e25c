"""Async resilience for APIs that hide their errors inside HTTP 200.  Knows nothing of pollers."""

from resilience._core.admission.breaker import CircuitBreaker
from resilience._core.admission.budget import RetryBudget
from resilience._core.policy.model import (
    Certainty,
    Classification,
    Outcome,
    Recovers,
    Rule,
    Verdict,
)
from resilience._options import CallSettings
from resilience._report import Report, raise_for_code, report
from resilience.errors import (
    AlreadyDone,
    CircuitOpen,
    DeadlineExceeded,
    FatalError,
    PolicyError,
    QuotaError,
    ResilienceError,
    RetriesExhausted,
)
from resilience.guard import Guard
from resilience.observe import to_opentelemetry, to_structlog
from resilience.policies import Policy, catalogs, fatal, quota, retryable, success
from resilience.records import AttemptRecord, CallRecord, ShadowRecord

__all__ = (
    "AlreadyDone",
    "AttemptRecord",
    "CallRecord",
    "CallSettings",
    "Certainty",
    "CircuitBreaker",
    "CircuitOpen",
    "Classification",
    "DeadlineExceeded",
    "FatalError",
    "Guard",
    "Outcome",
    "Policy",
    "PolicyError",
    "QuotaError",
    "Recovers",
    "Report",
    "ResilienceError",
    "RetriesExhausted",
    "RetryBudget",
    "Rule",
    "ShadowRecord",
    "Verdict",
    "catalogs",
    "fatal",
    "quota",
    "raise_for_code",
    "report",
    "retryable",
    "success",
    "to_opentelemetry",
    "to_structlog",
)
