# Everything a developer types. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/celeriac
UV := $(or $(shell command -v uv),$(CACHE)/uv/bin/uv)
# Quoted wherever a shell reads them: a home may have a space in its name.
UV_RUN := "$(UV)" run --frozen
# A mirror of one's own is none of the lock's business; a lock in order is checked without any index.
UV_AS_LOCKED := env -u UV_DEFAULT_INDEX -u UV_INDEX -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL "$(UV)"
NAME ?= dev
# Tests start hundreds of Pythons; each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE
# Processes of pytest beside each other (-n) are as many as two cores can bear: stories wait, their workers do not.

# What is kept from run to run lies in the checkout, or among the caches where nothing may be written to that.
ifneq ($(shell test -w . || echo read-only),)
export UV_PROJECT_ENVIRONMENT ?= $(CACHE)/read-only/venv
export MYPY_CACHE_DIR ?= $(CACHE)/read-only/mypy
export RUFF_CACHE_DIR ?= $(CACHE)/read-only/ruff
export HYPOTHESIS_STORAGE_DIRECTORY ?= $(CACHE)/read-only/hypothesis
export PYTEST_ADDOPTS ?= -p no:cacheprovider
endif

# Each target may use all cores by itself, and the order is the story: the quick checks first.
.NOTPARALLEL:
.PHONY: help setup run hooks test unit properties integration agent faults e2e lint format demo cluster cluster-down bench bench-scale bench-memory pictures ledger ledger-today generate dist sbom release

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is missing here: Debian packages (as root), uv, the Python environment, Kubernetes programs, images
	@tests/cluster/install-packages integration >&2
	@test -x "$(UV)" || { python3 -m venv "$(CACHE)/uv" && "$(CACHE)/uv/bin/python" -m pip install --quiet --only-binary :all: --require-hashes -r .uv-requirements.txt; }
	@"$(UV)" sync --frozen --quiet
	@$(UV_RUN) python -m tests.cluster prepare
	@$(UV_RUN) python -m tests.agent.environments

run: ## The operator from this checkout, against the cluster of the current kubectl context; ARGS="--log-level debug"
	@$(UV_RUN) --quiet python -m tests.run $(ARGS)

hooks: ## Let git check each commit as `make lint` does (pre-commit)
	@$(UV_RUN) --quiet pre-commit install

test: setup lint unit integration agent faults e2e ## Everything: lint, unit, integration, agent, faults and e2e tests

unit: ## Unit tests, in seconds
	$(UV_RUN) pytest tests/unit -m unit -n auto --maxprocesses 4

properties: ## What is promised of scaling, for forty times as many pools as in unit, other ones each time: ten minutes
	HYPOTHESIS_PROFILE=long $(UV_RUN) pytest tests/unit/scaling/properties -m unit -n auto --maxprocesses 4 -o timeout=3600

integration: setup ## Against a real API server and a real Redis, no node; FULL=1: long stories and all variants
	$(UV_RUN) pytest tests/integration -m "integration$(if $(FULL),, and not full)" -p no:hypothesispytest -n 4

agent: setup ## Real Celery workers with the agent, on a real Redis and API server; FULL=1: every Celery, long stories
	$(UV_RUN) pytest tests/agent -m "agent$(if $(FULL),, and not full)" -p no:hypothesispytest -n $(if $(FULL),6,10)

faults: setup ## Hostile brokers, a sick API server, wrong clocks, two operators: the others go on; FULL=1: all rounds
	$(UV_RUN) pytest tests/faults -m "faults and not $(if $(FULL),alone,full)" -p no:hypothesispytest -n 4 $(if $(FULL),-o timeout=1800)
	$(if $(FULL),$(UV_RUN) pytest tests/faults -m "faults and alone" -p no:hypothesispytest)

e2e: setup ## On a real node with real Celery pods: the cluster of CELERIAC_KUBECONFIG, kind, or one built here; FULL=1: all
	$(UV_RUN) pytest tests/e2e -m "e2e$(if $(FULL),, and not full)" -p no:hypothesispytest -n 4 -o timeout=600

lint: ## ruff, mypy --strict, import-linter; uv.lock is that of pyproject.toml
	@$(UV_AS_LOCKED) lock --check --offline --no-config --quiet 2>/dev/null || { echo "uv.lock is not that of pyproject.toml; run: uv lock" >&2; exit 1; }
	$(UV_RUN) ruff check .
	$(UV_RUN) ruff format --check .
	$(UV_RUN) mypy
	$(UV_RUN) lint-imports --no-cache

format: ## Format the code
	$(UV_RUN) ruff format .
	$(UV_RUN) ruff check --fix .

demo: setup ## A running system in one command: cluster, Redis, operator, pools, real tasks; KEEP=1 leaves it up
	$(UV_RUN) python -m tests.demo $(if $(KEEP),--keep)

cluster: setup ## Start a one-node cluster, NAME=dev, and print how to use it
	$(UV_RUN) python -m tests.cluster up --name $(NAME)

cluster-down: ## Remove the cluster NAME=dev
	$(UV_RUN) python -m tests.cluster down --name $(NAME)

bench: setup ## Measure: seconds from LPUSH to the desired count, the cost of reading Redis, the cost of the agent
	$(UV_RUN) python -m tests.bench

bench-scale: setup ## What many pools cost, how fast they react: POOLS="1 100 1000 5000", OPERATOR=checkout, OUT=file.md
	$(UV_RUN) python -m tests.bench.scale --pools "$(or $(POOLS),1 100 1000 5000)" $(if $(OPERATOR),--operator "$(OPERATOR)") $(if $(OUT),--out "$(OUT)") $(ARGS)

bench-memory: setup ## Whether memory stays flat: MINUTES=30 of POOLS=1000 with bursts; OUT=docs/memory gets .csv and .svg
	$(UV_RUN) --group plot python -m tests.bench.scale.memory --minutes $(or $(MINUTES),30) --pools $(or $(POOLS),1000) $(if $(OPERATOR),--operator "$(OPERATOR)") $(if $(OUT),--out "$(OUT)") $(ARGS)

pictures: setup ## The dashboards drawn into docs/pictures, of a run on a real API server, Redis and Prometheus; ARGS="--pools 40"
	$(UV_RUN) --group plot python -m tests.pictures $(ARGS)

ledger: setup ## No task lost, twice or killed by scaling: 300 tasks in each of 38 cells, 32 minutes; CELLS="prefork 5.3-solo"
	$(UV_RUN) python -m tests.ledger $(if $(CELLS),--cells "$(CELLS)") $(if $(PARALLEL),--parallel $(PARALLEL))

ledger-today: setup ## The same in short, of images with what pip resolves now: Celery 5.3 to 5.7 on each Python; CELLS=
	$(UV_RUN) python -m tests.ledger --today $(if $(CELLS),--cells "$(CELLS)") $(if $(PARALLEL),--parallel $(PARALLEL))

dist: ## The wheel in dist/, built by what .build-requirements.txt names with hashes
	"$(UV)" build --quiet --wheel --build-constraints .build-requirements.txt --require-hashes --out-dir "$(or $(DIST),dist)" .

sbom: ## What is in the wheel and in the operator's image, of uv.lock with hashes: dist/celeriac.cdx.json (CycloneDX)
	@mkdir -p dist
	$(UV_AS_LOCKED) export --quiet --frozen --no-dev --format cyclonedx1.5 --output-file dist/celeriac.cdx.json >/dev/null

release: setup ## Make, push and sign a release of this commit: REGISTRY= KEY= DOWNLOADS= (docs/release.md); DRY_RUN=1 into a registry here
	@tests/cluster/install-packages node $(if $(DRY_RUN),release) >&2
	@$(UV_RUN) python -m release $(if $(DRY_RUN),--dry-run) $(if $(REGISTRY),--registry "$(REGISTRY)") $(if $(KEY),--key "$(KEY)") $(if $(DOWNLOADS),--downloads "$(DOWNLOADS)")

generate: ## Write anew what tests hold identical to its source: the chart's CRD and README, tables of docs/api.md and docs/troubleshooting.md, dashboards, golden manifests
	$(UV_RUN) python -m release.versions
	cp crds/*.yaml charts/celeriac/files/
	$(UV_RUN) python -m tests.chart_readme
	$(UV_RUN) python -m tests.api_tables
	$(UV_RUN) python -m tests.situations
	$(UV_RUN) python -m tests.status_table
	$(UV_RUN) python -m tests.dashboards
	UPDATE_GOLDEN=1 $(UV_RUN) pytest -q tests/unit/resources -s
