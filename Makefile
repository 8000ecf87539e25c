# Every target makes the environment that it needs.  PYTHON may name another interpreter (3.11+).
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: help demo test test-fork lint types docs bench mutants clean

help:
	@echo "make demo    the main job on real videos, in about half a minute"
	@echo "make test    the suite          make lint    ruff and the rooms"
	@echo "make types   mypy and pyright   make bench   numbers, beside the peers"
	@echo "make mutants faults put into the rooms that decide: does the suite notice?"
	@echo "make docs    the site, in site/"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[cli,emulator]'
	@touch $@

# The MemOS SDK comes with a whole server's dependencies; its client needs requests and pydantic.
$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/memos-sdk 'MemoryOS>=2.0.33'
	@touch $@ $(VENV)/.demo

$(VENV)/.mutants: pyproject.toml | $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --editable '.[mutants]'
	@touch $@

$(VENV)/.bench: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/python-backoff 'python-backoff>=3'
	@touch $@ $(VENV)/.demo

$(VENV)/.docs: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	@$(BIN)/pollers demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --cov --cov-report=term

# The maintained fork of backoff installs the same import name, so it needs a place of its own.  The rooms
# that know nothing of waits are left out: they would do the same once more.
test-fork:
	$(MAKE) VENV=.venv-fork .venv-fork/.dev
	.venv-fork/bin/python -m pip uninstall --quiet --yes backoff
	.venv-fork/bin/python -m pip install --quiet 'python-backoff>=3'
	.venv-fork/bin/python -m pytest -n auto -m 'not slow' \
		$(addprefix --ignore=tests/,emulator pollers simulation sinks store)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy
	MYPYPATH=docs $(BIN)/mypy --explicit-package-bases docs/generate
	$(BIN)/pyright --pythonpath $(BIN)/python

# Material is kept until May 2027.  Zensical, which follows it, builds the same mkdocs.yml, but runs no hooks
# as of 0.1.1; what the hooks do is in docs/generate, apart from the tool.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/.bench
	$(BIN)/python -m bench

# SAMPLE faults of each module (40), of the modules whose names contain ROOM, for at most MINUTES.
mutants: $(VENV)/.mutants
	$(BIN)/python tests/mutants.py $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) \
		$(if $(ROOM),--room $(ROOM)) $(if $(MINUTES),--minutes $(MINUTES))

clean:
	rm -rf .venv .venv-fork build dist site mutants .coverage .mypy_cache .ruff_cache .hypothesis
