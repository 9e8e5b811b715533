# Two commands set everything up by themselves: `make demo` and `make test`. Nothing outside $(VENV) is touched.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test fuzz lint clean

# The demo's records are kept apart from the ones in results/, so that it really measures.
demo: $(VENV)/.installed
	$(BIN)/gfnet-bench robustness --suite mini --output-dir build/demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest

# A million cases, some hours of one core.
fuzz: $(VENV)/.installed
	GFNET_BENCH_FUZZ_CASES=50000 $(BIN)/python -m pytest tests/test_fuzz.py

lint: $(VENV)/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[reference,dev]"
	touch $@

clean:
	rm -rf $(VENV) build
