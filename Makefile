# `make run` and `make test` work from a fresh clone: they need Python 3.11, make and a package registry.
PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

.PHONY: install run test test-all train bench lint format clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: set PYTHON=/path/to/python3.11"; exit 7; }
	@test -d .venv || { command -v uv >/dev/null && uv venv --quiet --seed --python $(PYTHON) .venv || $(PYTHON) -m venv .venv; }
	@echo "installing (about a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

run: install
	@$(BIN)/robotctl run kitchen/clear-table

# The tests of the trusted base run by themselves: all of its branches must be taken.
BASE := tests/test_safety.py tests/test_guardrails_things.py
COVERED := --cov=robotctl.safety --cov-branch --cov-report= --cov-fail-under=100

test: lint
	@$(BIN)/pytest $(COVERED) -n 2 $(BASE)
	@$(BIN)/pytest -m 'not slow' -n 2 $(BASE:%=--ignore=%)

test-all: lint
	@$(BIN)/pytest $(COVERED) -n 2 $(BASE)
	@$(BIN)/pytest -n 2 $(BASE:%=--ignore=%)

train: install
	$(BIN)/robotctl train kitchen --quick

bench: install
	$(BIN)/robotctl bench guardrails --episodes 10

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Also numba's cache of compiled kernels: it does not notice when a function that a kernel calls has changed.
clean:
	find robotctl -name '*.nb[ci]' -delete
	rm -rf .venv build dist *.egg-info
