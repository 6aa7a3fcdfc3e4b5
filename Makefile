# Two commands do everything on a fresh machine with Python 3.11 or newer, git and make:
#   make demo   makes the environment, separates the real examples and writes a report with pictures and scores
#   make test   makes the environment and runs lint, types, layers and tests

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet --constraint constraints.txt

# On a busy machine, threads that spin while they wait make everything many times slower.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help setup demo test test-slow fuzz test-browser test-ray lint bench docs release-files lock audit clean

help:
	@sed -n 's/^#   //p' Makefile
	@echo "also: make setup, make test-slow, make test-browser, make test-ray, make lint, make bench, make bench-check, make docs, make release-files, make lock, make audit, make clean"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "unbraid needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 1; }
	@echo "making the environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# torch first and pinned: anything that depends on an open range of it could pull gigabytes of CUDA packages.
$(VENV)/.torch: constraints.txt | $(BIN)/python
	@echo "installing torch"
	@$(PIP) torch
	@touch $@

$(VENV)/.demo: pyproject.toml $(VENV)/.torch
	@echo "installing unbraid"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.torch
	@echo "installing unbraid and its development tools"
	@$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.demo

setup: $(VENV)/.dev

demo: $(VENV)/.demo
	@$(BIN)/unbraid demo

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

# A process for each core, each with one thread.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" --numprocesses auto --maxprocesses 8

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow

# The web page, in the Chromium of this machine.
test-browser: $(VENV)/.dev
	$(BIN)/python -m pytest -m browser tests/web/browser

# Ray on this machine, with two workers, one of which is killed.
test-ray: $(VENV)/.dev
	@$(PIP) --editable '.[ray]'
	RAY_worker_niceness=0 $(BIN)/python -m pytest -m ray tests/output/engines

# So many damaged files for every reader of files from anybody, guided by the code that they reach; what is found is kept in fuzz/.
fuzz: $(VENV)/.dev
	@$(PIP) --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz --executions 20000 --folder fuzz

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

# Ratios of forms that do the same, against the committed ones; fails where one has lost more than 15 %.
bench-check: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.networks.ratios

# The site in site/; warnings and links that lead nowhere end it.
docs: $(VENV)/.dev
	@$(PIP) --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Wheel and sdist in dist/, as a release publishes them.
release-files: $(VENV)/.dev
	@$(PIP) build
	$(BIN)/python -m build

# Every package with its hash, for this system and Python: requirements.lock, which is published beside a release.
lock: $(VENV)/.torch
	$(BIN)/python .ci/lock.py requirements.lock .

# Whether a version that is pinned is known to be vulnerable; asks the index, and fails where that knows nothing of one.
audit: $(BIN)/python
	@$(PIP) pip-audit
	$(BIN)/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip

clean:
	rm -rf $(VENV) site separated .pytest_cache .ruff_cache .hypothesis .import_linter_cache
