"""``__all__`` is the surface, documented and cheap to import."""

import inspect
import os
import subprocess
import sys

import pytest

import resilience

SURFACE = ["AlreadyDone", "AttemptRecord", "CallRecord", "CallSettings", "Certainty", "CircuitBreaker", "CircuitOpen", "Classification", "DeadlineExceeded", "FatalError", "Guard", "Outcome", "Policy", "PolicyError", "QuotaError", "Recovers", "Report", "ResilienceError", "RetriesExhausted", "RetryBudget", "Rule", "ShadowRecord", "Verdict", "catalogs", "fatal", "quota", "raise_for_code", "report", "retryable", "success", "to_opentelemetry", "to_structlog"]  # fmt: skip


def run(script: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    return done.stdout.strip()


def test_all_is_sorted_and_is_the_surface():
    """Names are added on purpose, here too."""
    assert sorted(resilience.__all__) == list(resilience.__all__)
    assert list(resilience.__all__) == SURFACE


@pytest.mark.parametrize("name", SURFACE)
def test_every_public_name_is_documented(name):
    """A docstring, and one on every public method."""
    thing = getattr(resilience, name)

    assert inspect.getdoc(thing)
    if inspect.isclass(thing):
        for key, member in vars(thing).items():
            if not key.startswith("_") and (
                inspect.isfunction(member) or isinstance(member, property)
            ):
                assert inspect.getdoc(member), f"{name}.{key}"


def test_methods_of_a_guard():
    """Ways in, views, and looking in; what adapters need is beside them."""
    assert sorted(name for name in vars(resilience.Guard) if not name.startswith("_")) == [
        "account", "aiohttp", "call", "enforce", "httpx", "install", "options", "policy", "requests", "reset", "restore",
        "snapshot", "subscribe", "using", "wrap",
    ]  # fmt: skip


def test_front_door_has_no_logic():
    """Everything that ``resilience`` shows of its own is in ``__all__`` or a module."""
    mine = {
        name for name, thing in vars(resilience).items()
        if not name.startswith("_") and not inspect.ismodule(thing)
    }  # fmt: skip

    assert set(resilience.__all__) == mine


@pytest.mark.parametrize(
    "heavy", ["aiohttp", "httpx", "httpx2", "click", "trio", "av", "opentelemetry", "pollers"]
)
def test_import_is_light(heavy):
    """``import resilience`` imports no HTTP library and nothing of an extra."""
    assert run(f"import sys, resilience; print({heavy!r} in sys.modules)") == "False"


def test_classifying_needs_no_http_library():
    """Loading a catalog and judging an exception's name goes by text."""
    script = (
        "import sys; from resilience import Policy\n"
        "Policy.load('memories_ai').classify(exception=OSError(), status=None)\n"
        "print({'aiohttp', 'httpx', 'httpx2'} & {*sys.modules} or False)"
    )

    assert run(script) == "False"


def test_wrapping_needs_no_http_library():
    """Nor do the rules for ``backoff`` decorators."""
    script = (
        "import sys, resilience\n"
        "class Client:\n"
        "    async def get(self): ...\n"
        "resilience.Guard('http').wrap(Client())\n"
        "from resilience.adapters.backoff import Rules; Rules('http')\n"
        "print('aiohttp' in sys.modules or 'httpx' in sys.modules)"
    )

    assert run(script) == "False"


def test_making_a_guard_needs_no_event_loop():
    """Make it anywhere."""
    assert run("import resilience; print(resilience.Guard('memories_ai').account)") == "default"


def test_loading_a_catalog_does_not_hide_a_public_name():
    """There is a function ``catalogs`` and a folder ``catalogs``; the function stays in its place."""
    script = "import resilience as r; r.Policy.load('http'); print(len(r.catalogs()))"

    assert run(script) == "3"


def test_packages_are_typed():
    """The marker file travels."""
    from importlib import resources

    assert resources.files("resilience").joinpath("py.typed").is_file()
