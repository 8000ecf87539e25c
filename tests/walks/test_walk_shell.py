"""The walk of somebody at a shell: each mistake is one or two lines on stderr and exit code 2."""

import os
import subprocess
import sys

import pytest

TYPO = 'name = "mine"\nextends = "memories_ai"\n[codes.0429]\nverdct = "fatal"\n'
NOT_TOML = '[codes.0429\nverdict = "fatal"\n'


def pollers(*words, cwd, key="sk"):
    """What the program says, and how it ends."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MEMORIES_")}
    env |= {"MEMORIES_API_KEY": key} if key else {}
    ran = subprocess.run(
        [sys.executable, "-m", "pollers.cli", *words],
        cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=9,
    )  # fmt: skip
    assert ran.stdout == ""
    return ran.returncode, ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "key", "told"),
    [
        pytest.param(
            ["watch", "VI1"], "", "no API key: set $MEMORIES_API_KEY or", id="no-key"
        ),
        pytest.param(
            ["watch", "VI1", "--api-key-env", "MINE"], "sk", "no API key: set $MINE", id="no-such-key"
        ),
        pytest.param(
            ["watch", "VI1", "--base-url", "127.0.0.1:8080"], "sk",
            "base_url='127.0.0.1:8080': expected an http(s) URL such as https://", id="no-scheme",
        ),
        pytest.param(
            ["watch", "VI1", "--store", "."], "sk", "'.' is a directory", id="folder-as-store"
        ),
        pytest.param(
            ["watch", "VI1", "--store", "there/jobs.db"], "sk", "does not exist; create it first",
            id="store-in-no-folder",
        ),
        pytest.param(
            ["watch", "VI1", "--policy", "typo.toml"], "sk",
            "typo.toml: codes.0429.verdct: unknown key 'verdct' (= 'fatal') (did you mean 'verdict'?)",
            id="typo-in-a-policy",
        ),
        pytest.param(
            ["watch", "VI1", "--policy", "broken.toml"], "sk", "broken.toml: not TOML:",
            id="no-toml",
        ),
        pytest.param(
            ["watch", "VI1", "--policy", "memory_ai"], "sk", "(did you mean 'memories_ai'?)",
            id="no-such-policy",
        ),
        pytest.param(
            ["jobs", "--store", "none.db"], "sk", "the file does not exist, so there is no store",
            id="no-store-to-read",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_a_line(words, key, told, tmp_path):
    """No traceback; the text names the value and what was expected."""
    (tmp_path / "typo.toml").write_text(TYPO)
    (tmp_path / "broken.toml").write_text(NOT_TOML)
    code, err = pollers(*words, cwd=tmp_path, key=key)
    assert (code, told in err, "Traceback" in err) == (2, True, False), err
