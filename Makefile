# Every target sets up what it needs; a second call reuses it.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

.PHONY: demo test test-all test-adapters check-envs mutants check

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
	$(BIN)/pytest -n 2 --dist loadgroup -rs

# The packages of docs/envs/adapters.md and control.md, 2 GB, and memax, beside the environment that the other tests use.
# What does not install here is skipped by its tests.
ADAPTERS := xland navix jumanji craftax arcade brax playground gymnasium

$(VENV)-adapters/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-adapters
	$(VENV)-adapters/bin/python -m pip install --quiet --editable '.[dev]'
	for extra in $(ADAPTERS); do \
	  $(VENV)-adapters/bin/python -m pip install --quiet --editable ".[$$extra]" || echo "$$extra does not install here"; \
	done
	$(VENV)-adapters/bin/python -m pip install --quiet --no-deps 'popgym-arcade>=0.0.7,<0.1' || echo "popgym-arcade does not install here"
	$(VENV)-adapters/bin/python -m pip install --quiet ./examples/plugin_memax || echo "memax does not install here"
	touch $@

test-adapters: $(VENV)-adapters/.installed
	$(VENV)-adapters/bin/pytest -n 2 -rs -m "not slow" tests/adapters examples/plugin_memax

# The checker of environments over every registered id: more than an hour on 2 cores.
check-envs: $(VENV)-adapters/.installed
	JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(VENV)-adapters/bin/pytest -n 2 -rs tests/envs/test_protocol.py -k test_every_environment_keeps_the_protocol

# Faults are put into the learner, one at a time, and its tests must notice each of them: tests/mutants/caught.md.
mutants: $(VENV)/.installed
	$(BIN)/python tests/mutants/mutate.py

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
