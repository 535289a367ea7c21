# make quickstart and make test install what they need; PYTHON selects another interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# libtpu exists only for Linux on x86-64.

comma := ,
EXTRAS := $(if $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m)),dev$(comma)tpu,dev)
INSTALLED := $(VENV)/.installed
PIP = $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: quickstart install test test-slow lint bench bench-fit bench-train bench-simulator docs clean

quickstart: $(INSTALLED)
	$(BIN)/scalax run experiments/quickstart.toml

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt $(wildcard plugins/*/pyproject.toml)
	@echo "installing into $(VENV): this takes some minutes the first time" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) >&2
	@$(PIP) --editable '.[$(EXTRAS)]' >&2
	@for plugin in $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml)); do \
	  $(PIP) --editable $$plugin >&2 || exit 1; \
	done
	@touch $@

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: $(INSTALLED)
	$(BIN)/pytest -n 2

test-slow: $(INSTALLED)
	$(BIN)/pytest -m 'slow or not slow'

bench: bench-fit bench-train bench-simulator

bench-fit: $(INSTALLED)
	@$(BIN)/python tools/bench_fit.py

bench-train: $(INSTALLED)
	@$(BIN)/python tools/bench_train.py

bench-simulator: $(INSTALLED)
	@$(BIN)/python tools/bench_simulator.py

docs: $(INSTALLED)
	@$(PIP) --editable '.[docs]' >&2
	$(BIN)/sphinx-build --fail-on-warning --quiet docs docs/_build
	@echo "open docs/_build/index.html"

clean:
	rm -rf docs/_build docs/generated $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache out
