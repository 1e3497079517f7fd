# Every target does the set-up it needs, from the committed constraints, into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS := --numprocesses=auto --maxprocesses=4

.PHONY: help install reproduce test test-all check bench clean

help:
	@echo "make install    set up $(VENV)"
	@echo "make reproduce  run all claims at the quick scale and write the report"
	@echo "make test       run the tests (make test-all: the slow ones too)"
	@echo "make check      lint, types, import contract"
	@echo "make bench      the engine's benchmark"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "viewrace needs Python 3.11 or newer: set PYTHON=python3.11 (or later)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

reproduce: install
	$(BIN)/viewrace reproduce

test: install
	$(BIN)/python -m pytest $(WORKERS) -m 'not slow' --cov --cov-report=term

test-all: install
	$(BIN)/python -m pytest $(WORKERS) --cov --cov-report=term

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/python benchmarks/engine.py

clean:
	rm -rf $(VENV) results build .pytest_cache .mypy_cache .ruff_cache .hypothesis
