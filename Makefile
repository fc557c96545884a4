# Everything works on a machine with Python 3.11, 3.12 or 3.13 alone; see README.md.
# MILLRACE_DATA and MILLRACE_PORT_OFFSET choose the data directory and the ports of `make run` and `make up`.

SHELL := /bin/bash
BIN := .venv/bin
PACKAGES := libs services scripts
ONLY ?=
TAG ?= 1.0.0
N ?= 20
MODE ?= embedded
ARGS ?=
JOBS ?= 3

.PHONY: help run up images test check bench faults proto environment backends

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

environment: ## Make or refresh .venv as locked
	@scripts/environment.sh

backends: ## Install the servers that `make up` and the tests need, as far as they are missing
	@scripts/backends.sh

run: environment ## Start everything in one process and serve until Ctrl-C
	@scripts/foreground.sh millrace up $(ARGS)

up: environment backends ## Start Kafka, PostgreSQL, Redis, etcd and every process, and serve until Ctrl-C
	@scripts/foreground.sh python -m standalone.real $(ARGS)

images: ## Build the image of every service; TAG=1.0.0
	@scripts/images.sh $(TAG)

test: environment backends check ## Check the code, then run every test in JOBS processes (3), quick ones first
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

check: environment ## Format, lint, types, import rules, contracts, deployment files
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy libs/*/src services/*/src
	$(BIN)/lint-imports
	$(BIN)/buf lint
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/generate_protos.py --check
	$(BIN)/python scripts/check_deployment.py

proto: environment ## Generate the code of proto/
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/generate_protos.py

bench: environment ## Benchmarks; ONLY=name for one of them
	$(BIN)/python -m tests.bench $(if $(ONLY),--only $(ONLY))

faults: environment $(if $(filter real,$(MODE)),backends) ## N kill -9 at random moments under load (N=20, MODE=embedded|real)
	$(BIN)/python -m millrace_testkit.faults $(N) --mode $(MODE)
