# make up     install what is missing, start everything, show a streamed answer
# make down   stop everything
# make test   install what is missing, run all default tests
# make test-containers   build, run and test the containers of compose.yaml (docker or podman; minutes)
# make check  linters, types, layers, contracts (what CI runs besides the tests)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Further arguments for pip, e.g. the package index of CPU builds of torch: make up PIP_ARGS="--extra-index-url ..."
PIP_ARGS ?=
QUESTION ?= What is the capital of France?

.PHONY: help up down test test-containers check
help:
	@sed -n 's/^# \(make .*\)/  \1/p' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Penstock needs Python 3.11 or newer; $(PYTHON) is older. Try: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# Two stamps, so that `make up` does not install test tools.
$(VENV)/.ready-all $(VENV)/.ready-dev: $(VENV)/.ready-%: pyproject.toml constraints/cpu.txt | $(BIN)/python
	@echo "Installing penstock[$*] into $(VENV) (a few minutes the first time) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints/cpu.txt $(PIP_ARGS) -e '.[$*]'
	@touch $@

up: $(VENV)/.ready-all
	@$(BIN)/penstock up --detach
	@echo
	@echo '> penstock generate "$(QUESTION)" --no-cache'
	@$(BIN)/penstock generate "$(QUESTION)" --no-cache || { echo 'The stack is up; only the question failed. Stop it: make down'; exit 1; }
	@echo
	@echo 'Next:  $(BIN)/penstock generate "Your question"    $(BIN)/penstock status    $(BIN)/penstock --help    make down'

down: $(VENV)/.ready-all
	@$(BIN)/penstock down

test: $(VENV)/.ready-dev
	@$(BIN)/python -m pytest $(TEST_ARGS)

test-containers: $(VENV)/.ready-dev
	@$(BIN)/python -m pytest -v tests/containers $(TEST_ARGS)

check: $(VENV)/.ready-dev
	@scripts/check
