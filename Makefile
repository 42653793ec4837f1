# Every target sets up what it needs first: a virtual environment in .venv, once and again when the pins change.
.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$candidate && break; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help
help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | expand -t 12

.PHONY: demo
demo: $(VENV)/runtime ## play the main job on a system of its own: sell, fulfil, scan, check
	@exec $(BIN)/python -m deploy.local.demo

.PHONY: up
up: $(VENV)/runtime ## run the whole system here, gateway on http://127.0.0.1:8080, data in .local
	@exec $(BIN)/python -m deploy.local up

.PHONY: test
test: $(VENV)/dev ## run every test (PYTEST_ARGS="-k scan" for some)
	@exec $(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: check
check: $(VENV)/dev ## lint, format, types and import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_import_rules.py

.PHONY: format
format: $(VENV)/dev ## format the code and mend what lint can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: bench
bench: $(VENV)/dev ## measure, as ratios in one run
	@exec $(BIN)/python -m tests.bench

.PHONY: lock
lock: $(VENV)/dev ## pin the dependencies of pyproject.toml anew
	@$(BIN)/uv pip compile $(LOCK_ARGS) pyproject.toml -o requirements.txt
	@$(BIN)/uv pip compile $(LOCK_ARGS) --extra dev pyproject.toml -o requirements-dev.txt

LOCK_ARGS := --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links

.PHONY: clean
clean: ## remove the virtual environment and caches; data in .local stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; install it, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "$(PYTHON) is not a Python of 3.11 or newer; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) lacks the venv module: on Debian and Ubuntu, apt install python3-venv" >&2; exit 1; }
	@echo "Making a virtual environment in $(VENV) ..." >&2
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# A dot for each package, so that nobody waits in the dark. What pip complains about is shown, and only its success
# makes the target.
define install
@rm -f $@
@printf 'Installing what $(1) into $(VENV), once ' >&2
@{ $(PIP) install --require-hashes -r $< && touch $@; } | while read -r word _; do \
	case $$word in Collecting) printf . ;; Installing) printf ' unpacking ...' ;; esac; done >&2
@echo >&2; test -f $@
endef

$(VENV)/runtime: requirements.txt | $(BIN)/python
	$(call install,the system needs (half a minute))

$(VENV)/dev: requirements-dev.txt | $(BIN)/python
	$(call install,the system and its tests need (a minute))
	@touch $(VENV)/runtime
