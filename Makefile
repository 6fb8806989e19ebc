# Needs git, make and Python 3.11 or newer with venv; uv is fetched into .cache/ where it is missing.
UV := $(or $(shell command -v uv || :),.cache/boot/bin/uv)
NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
PYTHON = $(shell for p in python3 python3.13 python3.12 python3.11; do $$p $(NEW_ENOUGH) && echo $$p && break; done 2>/dev/null; :)
RUN := $(UV) run --quiet

.PHONY: help demo test bench lint
help: ## these lines
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## / \t/'

demo: $(UV) ## generate the sample project into demo/ and run its whole loop
	@$(RUN) python -m scripts.demo

test: $(UV) lint ## all tests: projects are generated and really run
	@$(RUN) pytest -n 2 --dist loadscope --no-loadscope-reorder --durations 40

bench: $(UV) ## the budgets of docs/, measured on this machine
	@$(RUN) python -m benchmarks

lint: $(UV) ## ruff and mypy on the template's own Python
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy

.cache/boot/bin/uv:
	@test -n "$(PYTHON)" \
	  || { echo "Python 3.11 or newer is needed and was not found. Install it, or uv, and run make again." >&2; exit 1; }
	@$(PYTHON) -m venv --clear .cache/boot >/dev/null 2>&1 \
	  || { echo "$(PYTHON) has no venv. Install it (on Debian: apt install python3-venv), or uv, and run make again." >&2; exit 1; }
	@echo "uv is missing; fetching it into .cache/boot"
	@.cache/boot/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.11,<1'
