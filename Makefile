# Needs make, Python 3.11 or newer and a package registry. PYTHON=... chooses the interpreter.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: help demo test check docs bench coverage clean

help:
	@echo "make demo      solve a 100-dimensional Hamilton-Jacobi-Bellman equation, write demo.png"
	@echo "make test      run the tests"
	@echo "make check     lint and check types"
	@echo "make docs      build the documentation into site/; read site/index.html"
	@echo "make bench     time the zoo and three published methods, each run in a fresh process: half an hour or more"
	@echo "make coverage  count how often intervals hold the truth, over many seeds"
	@echo "make clean     remove what the above wrote, but for $(VENV)"

demo: $(VENV)/.has-plot
	$(BIN)/uncurse solve hjb --plot demo.png

test: $(VENV)/.has-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(VENV)/.has-dev
	$(BIN)/ruff check uncurse tests examples benchmarks
	$(BIN)/pyright

docs: $(VENV)/.has-docs
	$(BIN)/mkdocs build --strict --quiet

# Exit status 1 of `uncurse bench` says that some tolerance was not met in that time, which is no reason to stop.
bench: $(VENV)/.has-plot
	mkdir -p benchmarks/results
	$(BIN)/uncurse bench --time-limit 60 --write benchmarks/results/bench.md || test $$? -eq 1
	$(BIN)/python -m benchmarks.work_precision --quick
	$(BIN)/python -m benchmarks.page

coverage: $(VENV)/.has-dev
	$(BIN)/python benchmarks/coverage.py

clean:
	rm -rf demo*.png site dist build .pytest_cache .ruff_cache .hypothesis
	find uncurse tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp a set of packages, so that each is installed once, and again when pyproject.toml changes.
$(VENV)/.has-plot: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[plot]'
	@touch $@

$(VENV)/.has-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[dev,plot]'
	@touch $@ $(VENV)/.has-plot

$(VENV)/.has-docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[docs]'
	@touch $@

# The first interpreter that is new enough.
$(BIN)/python:
	@for python in "$(PYTHON)" python3.13 python3.12 python3.11 python3; do \
	    if command -v "$$python" >/dev/null 2>&1 && \
	       "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "$$python -m venv $(VENV)"; exec "$$python" -m venv $(VENV); \
	    fi; \
	done; \
	echo "uncurse needs Python 3.11 or newer; $(PYTHON) is $$("$(PYTHON)" --version 2>&1)." >&2; \
	echo "Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1
