# The commands of the project. `make demo` and `make test` are enough on a fresh machine with Python 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt
INPUTS := pyproject.toml constraints.txt

.PHONY: demo test test-all check bench docs clean

demo: $(VENV)/demo ## analyse two production networks; writes heavytail-report.html and heavytail-report.json
	$(BIN)/heavytail demo --out .

test: $(VENV)/dev ## all tests but the slow ones
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-all: $(VENV)/dev ## every test
	$(BIN)/python -m pytest -n 2

check: $(VENV)/dev ## style, types, and the floors of the house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev ## measurements against WeightWatcher and the bare LAPACK floor; see benchmarks/README.md
	$(BIN)/python benchmarks/parity.py
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/spikes.py
	$(BIN)/python benchmarks/traps.py
	$(BIN)/python benchmarks/mp_speed.py
	$(BIN)/python benchmarks/coverage.py
	$(BIN)/python benchmarks/tail_score.py
	$(BIN)/python benchmarks/tail_speed.py
	$(BIN)/python benchmarks/phases.py
	$(BIN)/python benchmarks/drivers.py
	$(BIN)/python benchmarks/learning.py
	$(BIN)/python benchmarks/monitor.py
	$(BIN)/python benchmarks/certified.py
	$(BIN)/python benchmarks/resume.py
	$(BIN)/python benchmarks/cluster.py
	$(BIN)/python benchmarks/seventy.py

docs: $(VENV)/docs ## the book, into docs/_build
	$(BIN)/sphinx-build --quiet --fail-on-warning docs docs/_build

$(VENV)/python:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/demo: $(INPUTS) | $(VENV)/python
	$(PIP) --editable ".[demo]"
	touch $@

# torch comes first and alone: asked for together with others, pip may take a build of several gigabytes.
$(VENV)/dev: $(INPUTS) | $(VENV)/python
	$(PIP) torch
	$(PIP) --editable ".[dev]"
	touch $@

$(VENV)/docs: $(INPUTS) | $(VENV)/python
	$(PIP) --editable ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) .cache docs/_build heavytail-report*
