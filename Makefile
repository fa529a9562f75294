# The whole project from the command line: `make demo` sets everything up and predicts possums' tails.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
SHELL := bash
.SHELLFLAGS := -o pipefail -c

PYTHON ?= python3
# Ports of the local stack, for example `make demo AIRFLOW_PORT=8081`; remembered in .local/ports.env.
export S3_PORT MLFLOW_PORT AIRFLOW_PORT SERVE_PORT
# Which services `make up` starts: s3, mlflow, airflow; serve, which answers with the champion, on demand.
SERVICES ?= s3 mlflow airflow

ENVS := .local/envs
UV := $(or $(shell command -v uv 2>/dev/null),$(ENVS)/uv/bin/uv)
LOCKS := airflow mlflow mlflow-2 openmetadata
RUN := $(ENVS)/airflow/bin/python -m local
BIN := $(ENVS)/airflow/bin
# Compiled at installation, modules import more than twice as fast wherever writing bytecode later is turned off.
export UV_COMPILE_BYTECODE := 1

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: setup ## Start everything, run the DAGs, show the results
	@$(RUN) demo

.PHONY: up
up: setup ## Start the services (SERVICES="s3 mlflow airflow")
	@$(RUN) up $(SERVICES)

.PHONY: serve
serve: setup ## Serve the champion over HTTP (SERVE_PORT=5002)
	@$(RUN) serve

.PHONY: trace
trace: setup ## Follow predictions back to run, data and commit (FILE=s3://...csv)
	@$(RUN) trace $(FILE)

.PHONY: lineage
lineage: setup ## Show and draw which data, tasks and model predictions come from (FILE=s3://...csv)
	@$(RUN) lineage $(FILE)

.PHONY: setup-openmetadata
setup-openmetadata: $(ENVS)/openmetadata/.complete ## Build the environment of OpenMetadata's connector (optional)

.PHONY: ingest
ingest: setup $(if $(OPENMETADATA_PYTHON),,setup-openmetadata) ## Send MLflow's models to OpenMetadata (WORKFLOW=include/openmetadata/mlflow.yaml)
	@$(RUN) ingest $(WORKFLOW)

.PHONY: down
down: ## Stop every service
	@$(call if_set_up,$(RUN) down)

.PHONY: status
status: ## Show which services run, and where
	@$(call if_set_up,$(RUN) status)

.PHONY: logs
logs: ## Follow the services' logs (Ctrl-C ends it)
	@$(call if_set_up,$(RUN) logs)

.PHONY: password
password: setup ## Print the logins of the Airflow and MLflow pages
	@$(RUN) password

.PHONY: test
test: setup ## Run the test suite on services of its own
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder --durations 20

.PHONY: test-extended
test-extended: setup ## Run the longest end-to-end tests: tuning, and champions made, kept and brought back
	@$(BIN)/python -m pytest -m extended tests/end_to_end

.PHONY: test-provider
test-provider: setup ## Run the tests of the MLflow provider alone
	@$(BIN)/python -m pytest tests/include/mlflow_provider

.PHONY: check
check: setup ## Lint, check format, types, container files, workflow and packages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.override.yml containers/s3/*.yml
	@$(BIN)/check-jsonschema --schemafile local/schemas/devcontainer.json .devcontainer/devcontainer.json
	@$(BIN)/zizmor --offline --quiet --no-progress .github
	@$(MAKE) audit
	@if $(LIST_ANSWERS); then $(MAKE) vulnerabilities; else \
	  echo "The list of known vulnerabilities cannot be reached from here: nobody was asked for any."; fi

.PHONY: audit
audit: setup ## Fail if a locked package was withdrawn from the index (exceptions: local/requirements/withdrawn.txt)
	@for name in $(LOCKS); do \
	  said=$$($(UV) pip install --dry-run --no-deps --require-hashes --reinstall --python $(ENVS)/airflow \
	    --requirement local/requirements/$$name.txt 2>&1) || { echo "$$said"; exit 1; }; \
	  ! grep 'is yanked' <<<"$$said" | grep -v -F -f <(sed -n 's/^[[:alnum:]].*/`&`/p' local/requirements/withdrawn.txt) \
	    || exit 1; \
	done; echo "No locked package was withdrawn."

.PHONY: vulnerabilities
vulnerabilities: $(UV) ## Fail if a locked package has a known vulnerability (exceptions: local/requirements/vulnerable.txt)
	@for name in $(LOCKS); do \
	  $(PIP_AUDIT) --strict --require-hashes \
	    $$(sed -n 's/^[[:alnum:]].*/--ignore-vuln &/p' local/requirements/vulnerable.txt) \
	    --requirement local/requirements/$$name.txt || exit 1; \
	done

.PHONY: sbom
sbom: setup ## List every package of each environment as CycloneDX: sbom-airflow.json, sbom-mlflow.json, ...
	@for name in $(LOCKS); do \
	  $(BIN)/cyclonedx-py requirements --output-reproducible --output-file sbom-$$name.json \
	    local/requirements/$$name.txt || exit 1; \
	done

.PHONY: env
env: ## Write .env with generated passwords, for `astro dev start`
	@$(PYTHON) containers/make_env.py

.PHONY: rehearse
rehearse: setup ## Start what `astro dev start` starts, without Docker, and run the DAGs on it
	@$(BIN)/python -m local.rehearsal

.PHONY: standalone
standalone: setup ## Start Airflow with `astro dev start --standalone`, beside the local S3 and MLflow
	@$(RUN) up s3 mlflow
	@$(RUN) standalone
	@PYTHONPATH="$$PWD" astro dev start --standalone --env .local/standalone.env

.PHONY: format
format: setup ## Format the code and mend what the linter can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: bench
bench: setup ## Measure the pipeline against DAGs of the same shape that do nothing
	@$(BIN)/python -m local.bench

.PHONY: clean
clean: ## Delete the local data, after asking; the environments stay
	@$(call if_set_up,$(RUN) clean)

.PHONY: lock
lock: $(UV) ## Resolve the pinned packages again
	@for name in $(LOCKS); do \
	  $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	    --custom-compile-command "make lock" \
	    --output-file local/requirements/$$name.txt local/requirements/$$name.in || exit 1; done

.PHONY: setup
setup: $(ENVS)/airflow/.provider $(ENVS)/mlflow/.complete ## Build the two environments, if they are not there yet

# The DAGs use the provider in place; installed, it also shows up in Airflow's own list and connection form.
$(ENVS)/airflow/.provider: include/mlflow_provider/pyproject.toml $(ENVS)/airflow/.complete
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
# An index may have the packages and not the list of vulnerabilities: an old one that the list must name tells.
LIST_ANSWERS = echo 'pip==23.2' | $(PIP_AUDIT) --no-deps --requirement /dev/stdin 2>/dev/null | grep -q PYSEC-2023-228

# Without an environment nothing can be running: these commands have nothing to do.
if_set_up = if [ -e $(ENVS)/airflow/.complete ]; then $(1); else echo "Nothing is set up yet: make demo"; fi
