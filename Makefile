.PHONY: help setup check format types test chaos nodes demo docs lock wheel
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help

help: ## Say what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

.venv/.run: requirements.lock pyproject.toml
	@infra/setup.sh requirements.lock $(PYTHON) && touch $@

.venv/.dev: requirements-dev.lock pyproject.toml
	@infra/setup.sh requirements-dev.lock $(PYTHON) && touch $@ .venv/.run

setup: .venv/.dev ## Make .venv with everything that developing needs

demo: .venv/.run ## Run an email and an SMS campaign through a real Prefect server, on loopback
	@$(BIN)/ignition demo

test: .venv/.dev ## Run the whole suite, on SQLite and PostgreSQL
	@$(BIN)/python -m pytest -n 2 --dist loadgroup

chaos: .venv/.dev ## Kill, cut and fill what a run leans on, in the long form: half an hour
	@CHAOS=1 $(BIN)/python -m pytest tests/faults

nodes: .venv/.dev ## Two nodes on one run, one of them killed; as root in network namespaces: a quarter of an hour
	@$(BIN)/python benchmarks/nodes.py

worker-soak: .venv/.dev ## Run 200 flow runs through the warm worker and kill 20 of its children: ten minutes
	@WORKER_SOAK=1 $(BIN)/python -m pytest tests/acceptance/worker/test_many_runs.py

check: .venv/.dev ## Look at style, types, imports, sizes and spelling; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python infra/check_sizes.py
	$(BIN)/codespell

types: .venv/.dev ## Check types only
	$(BIN)/mypy

format: .venv/.dev ## Format the code and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## Resolve the dependencies anew, with hashes and without addresses
	uv pip compile -q --no-strip-extras --universal --generate-hashes --python-version 3.11 --extra parquet --extra checkout pyproject.toml -o requirements.lock
	uv pip compile -q --no-strip-extras --universal --generate-hashes --python-version 3.11 --extra parquet --extra checkout --group dev pyproject.toml -o requirements-dev.lock
	@$(PYTHON) infra/pin_bases.py requirements.lock requirements-dev.lock

docs: .venv/.dev ## Write the reference pages anew from the code
	$(BIN)/python -m ignition_ext.devtools.reference

wheel: .venv/.dev ## Build the wheel and the source archive
	$(BIN)/python -m build --no-isolation
