# Every target sets up what it needs; a second call reuses it.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

.PHONY: demo test test-all check

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/rlformers train env=popgym/RepeatPreviousEasy core=gru seeds=3 total_steps=1e6
	@echo "next: $(BIN)/rlformers train env=popgym/RepeatPreviousEasy core=s5 seeds=3"
	@echo "      $(BIN)/rlformers list envs"

test: $(VENV)/.installed
	$(BIN)/pytest -n 2 --dist loadgroup -m "not slow"

test-all: $(VENV)/.installed
	$(BIN)/pytest -n 2 --dist loadgroup

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
