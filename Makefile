# The project's commands: `make demo` sets everything up and runs the pipeline.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
SHELL := bash
.SHELLFLAGS := -o pipefail -c

PYTHON ?= python3
# Ports of the local stack, for example `make demo AIRFLOW_PORT=8081`; stored in .local/ports.env.
export S3_PORT MLFLOW_PORT AIRFLOW_PORT SERVE_PORT METRICS_PORT POSTGRES_PORT REDIS_PORT
# Executor and database, stored there too: EXECUTOR=celery WORKERS=2, DATABASE=postgresql (docs/executors.md).
export EXECUTOR WORKERS DATABASE
# Number of archives that `make backup` keeps.
export BACKUPS
export ROUNDS SEED
# Services that `make up` starts: s3, mlflow, airflow, serve (the model server), metrics (for Prometheus).
SERVICES ?= s3 mlflow airflow

ENVS := .local/envs
UV := $(or $(shell command -v uv 2>/dev/null),$(ENVS)/uv/bin/uv)
LOCKS := airflow mlflow mlflow-2 openmetadata
RUN := $(ENVS)/airflow/bin/python -m local
BIN := $(ENVS)/airflow/bin
# Compile at installation: where bytecode cannot be written later, imports take more than twice as long without it.
export UV_COMPILE_BYTECODE := 1

.PHONY: help demo adapt up serve trace lineage setup-openmetadata ingest down status logs password doctor backup \
  restore housekeeping test test-extended test-provider check audit vulnerabilities sbom env containers \
  standalone format bench bench-scale bench-serve chaos clean lock setup

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup ## Start all services, run the DAGs, print the results
serve: setup ## Serve the champion over HTTP (SERVE_PORT=5002)
password: setup ## Print the logins of Airflow and MLflow
demo serve password:
	@$(RUN) $@

down: ## Stop every service
status: ## Print the state and address of each service
doctor: ## Check the local stack, and print remedies
clean: ## Delete the local data after confirmation, but not the environments
down status doctor clean:
	@$(call if_set_up,$(RUN) $@)

# The values come from the environment, so that blanks and quotes in names need no escaping. Write $ as $$.
adapt: setup ## Describe your own table in include/problem.py (TABLE=my.csv or a folder, TARGET=price [ID=id] [FORCE=1])
	@$(BIN)/python -m local.adapt --table="$$TABLE" --target="$$TARGET" $${ID:+--id="$$ID"} $${FORCE:+--force}

up: setup ## Start the services (SERVICES="s3 mlflow airflow") [EXECUTOR=celery WORKERS=2] [DATABASE=postgresql]
	@$(RUN) up $(SERVICES)

trace: setup ## Print run, data and commit of predictions (FILE=s3://...csv)
lineage: setup ## Print and draw the lineage of predictions (FILE=s3://...csv)
trace lineage:
	@$(RUN) $@ $(FILE)

setup-openmetadata: $(ENVS)/openmetadata/.complete ## Build the environment of OpenMetadata's connector (optional)

ingest: setup $(if $(OPENMETADATA_PYTHON),,setup-openmetadata) ## Send MLflow's models to OpenMetadata (WORKFLOW=include/openmetadata/mlflow.yaml)
	@$(RUN) ingest $(WORKFLOW)

logs: ## Follow the services' logs (Ctrl-C to stop)
	@$(call if_set_up,tail -n 20 -F .local/logs/*.log)

backup: setup ## Write databases, objects and secrets to an archive (KEY=<file> encrypts it)
	@$(RUN) backup $(if $(KEY),"$(KEY)")

restore: setup ## Stop the services and restore an archive (FILE=... [KEY=<file>])
	@$(RUN) restore $(if $(FILE),"$(FILE)" $(if $(KEY),"$(KEY)"))

housekeeping: setup ## Delete old rows, logs and lineage events now, not only once a day (DRY_RUN=1)
	@$(RUN) housekeeping $(if $(DRY_RUN),dry-run)

test: setup ## Run the test suite on temporary services
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder --durations 20

test-extended: setup ## Run the longest tests: tuning, promotion and rollback on real services, long simulations
	@$(BIN)/python -m pytest -m extended tests

test-provider: setup ## Run the tests of the MLflow provider
	@$(BIN)/python -m pytest tests/include/mlflow_provider

check: setup ## Check code, format, types, container files, workflows and packages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/hadolint Dockerfile deploy/Dockerfile
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.override.yml containers/*.yml containers/s3/*.yml
	@$(BIN)/check-jsonschema --schemafile local/schemas/devcontainer.json .devcontainer/devcontainer.json
	@$(BIN)/zizmor --offline --quiet --no-progress .github
	@$(MAKE) audit
	@if $(LIST_ANSWERS); then $(MAKE) vulnerabilities; else \
	  echo "Skipped the check for known vulnerabilities: their list cannot be reached."; fi

audit: setup ## Check that no locked package was yanked (exceptions: local/requirements/withdrawn.txt)
	@for name in $(LOCKS); do \
	  output=$$($(UV) pip install --dry-run --no-deps --require-hashes --reinstall --python $(ENVS)/airflow \
	    --requirement local/requirements/$$name.txt 2>&1) || { echo "$$output"; exit 1; }; \
	  ! grep 'is yanked' <<<"$$output" | grep -v -F -f <(sed -n 's/^[[:alnum:]].*/`&`/p' local/requirements/withdrawn.txt) \
	    || exit 1; \
	done; echo "No locked package was yanked."

vulnerabilities: $(UV) ## Check locked packages for known vulnerabilities (exceptions: local/requirements/vulnerable.txt)
	@for name in $(LOCKS); do \
	  $(PIP_AUDIT) --strict --require-hashes \
	    $$(sed -n 's/^[[:alnum:]].*/--ignore-vuln &/p' local/requirements/vulnerable.txt) \
	    --requirement local/requirements/$$name.txt || exit 1; \
	done

sbom: setup ## Write each environment's packages as CycloneDX: sbom-airflow.json, sbom-mlflow.json, ...
	@for name in $(LOCKS); do \
	  $(BIN)/cyclonedx-py requirements --output-reproducible --output-file sbom-$$name.json \
	    local/requirements/$$name.txt || exit 1; \
	done

env: ## Write .env with generated passwords, for `astro dev start`
	@$(PYTHON) containers/make_env.py

containers: setup ## Run `astro dev start` on a Docker engine, with the DAGs (Linux as root, or DOCKER_HOST)
	@$(if $(DOCKER_HOST),,tests/containers/engine.sh) $(BIN)/python -m pytest -m containers --capture no tests/containers/test_running.py

standalone: setup ## Start Airflow with `astro dev start --standalone`, with the local S3 and MLflow
	@$(RUN) up s3 mlflow
	@$(RUN) standalone
	@PYTHONPATH="$$PWD" astro dev start --standalone --env .local/standalone.env

format: setup ## Format the code and fix lint findings
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup ## Compare the pipeline's run time with empty DAGs of the same shape
	@$(BIN)/python -m local.bench

bench-scale: setup ## Measure seconds and memory of each task (ROWS="10000 100000 1000000")
	@$(BIN)/python -m local.bench_scale $(ROWS)

bench-serve: setup ## Compare the model server with `mlflow models serve` and LitServe (CANDIDATE=RidgeCV)
	@$(BIN)/python -m local.bench_serve $(CANDIDATE)

chaos: setup ## Inject random faults into a stack and check that nothing is lost (ROUNDS=10 or 3-3, SEED=0; Linux as root)
	@$(BIN)/python -m tests.chaos

lock: $(UV) ## Update the lock files
	@for name in $(LOCKS); do \
	  $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	    --custom-compile-command "make lock" \
	    --output-file local/requirements/$$name.txt local/requirements/$$name.in || exit 1; done

setup: $(ENVS)/airflow/.provider $(ENVS)/mlflow/.complete ## Build the two environments if they are missing

# The DAGs import the provider in place; only an installed one is in Airflow's list of providers and connection types.
# airflow-provider-mlflow, its name in earlier environments, has to go first: Airflow refuses to start with both.
$(ENVS)/airflow/.provider: include/mlflow_provider/pyproject.toml $(ENVS)/airflow/.complete
	@$(UV) pip uninstall --quiet --python $(@D) airflow-provider-mlflow
	@$(UV) pip install --quiet --python $(@D) --no-deps --no-build-isolation --editable $(<D)
	@touch $@

$(ENVS)/%/.complete: local/requirements/%.txt | $(UV)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "Python 3.11 or newer is needed, $(PYTHON) is older: make PYTHON=python3.12 ...")'
	@echo "Building the $* environment in $(@D)"
	@rm -rf $(@D) && $(UV) venv --quiet --python "$$(command -v $(PYTHON))" $(@D)
	@$(UV) pip install --require-hashes --python $(@D) --requirements $< 2>&1 | grep -v '^ [+] '
	@touch $@

$(ENVS)/uv/bin/uv:
	@echo "Installing uv in $(ENVS)/uv"
	@$(PYTHON) -m venv $(ENVS)/uv && $(ENVS)/uv/bin/python -m pip install --quiet --disable-pip-version-check \
	  "$$(grep '^uv==' requirements.txt)"

PIP_AUDIT = $(UV) tool run pip-audit==2.10.1 --disable-pip --progress-spinner off
# A package index may lack the list of vulnerabilities: check that it has a known entry.
LIST_ANSWERS = echo 'pip==23.2' | $(PIP_AUDIT) --no-deps --requirement /dev/stdin 2>/dev/null | grep -q PYSEC-2023-228

# These commands need the environment; without it, no service runs.
if_set_up = if [ -e $(ENVS)/airflow/.complete ]; then $(1); else echo "Nothing is set up yet: run make demo"; fi
