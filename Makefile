# `make help` lists the targets. uv is used when it is there; nothing but Python >= 3.11 is needed otherwise.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.setup-done

.PHONY: help setup demo dev test faults fuzz proto lint format bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(SETUP) ## make .venv with everything for development

$(SETUP): pyproject.toml constraints.txt
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
		uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	else \
		$(PYTHON) -m venv $(VENV) && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'; \
	fi
	@touch $@

demo: setup ## a year of New York flights through the whole system, checked to the last event
	$(BIN)/eventrunner demo

dev: setup ## the platform on this machine, until Ctrl-C
	$(BIN)/eventrunner dev

test: setup ## all tests
	$(BIN)/pytest -n 2 --no-loadscope-reorder $(PYTEST_ARGS)

faults: setup ## ten minutes of faults under load; FAULTS_SECONDS, FAULTS_SEED, FAULTS_RATE, FAULTS_STORE=sqlite|cassandra
	$(BIN)/python -m tests.pipeline.faults

fuzz: setup ## mutated WebAssembly through the consumers' host; FUZZ_FILES, FUZZ_SEED
	@mkdir -p .cache
	PYTHONPATH=.:tests $(BIN)/python -m tests.attacks.fuzzing --count $${FUZZ_FILES:-200000} \
		--seed $${FUZZ_SEED:-$$(date +%s)} 2> .cache/fuzz.log || { tail -20 .cache/fuzz.log; exit 1; }

proto: setup ## the code that is generated from shared/eventrunner/ingest/proto/*.proto
	$(BIN)/python -m grpc_tools.protoc -Ishared --python_out=shared --pyi_out=shared \
		shared/eventrunner/ingest/proto/*.proto

lint: setup ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## the benchmark table
	$(BIN)/eventrunner bench

clean: ## remove what setup and runs have made
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis bench-results build dist
