# The tasks of this checkout, for people and for CI. `make` without a target lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
PREFIX ?= /opt/legitmark-gateway
DESTDIR ?=
INSTALL = systemd/install.sh
export PREFIX DESTDIR PYTHON

.DEFAULT_GOAL := help
.PHONY: help demo test lint types tests chaos browser bench bench-quick bench-large bench-peers profile screenshots schema docs \
	package package-test install install-service uninstall clean constraints

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## Run the gateway with four local sinks and a story of signed events (ARGS=--once ends after it)
	$(BIN)/gateway demo $(ARGS)

test: lint types tests ## Run the linter, the type checker and all tests

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

# The tests of a file share what they start, so one worker runs all of a file. Tests of speed run alone, after the others. No test
# gets a second chance: one that fails now and then has a defect. Exit code 5 says that ARGS selects no test of that run, 6 that a
# secret leaked (tests/leaks). The environment variable would make each worker compile every test file in each run.
tests: export PYTHONDONTWRITEBYTECODE =
NONE_SELECTED = { code=$$?; [ $$code -eq 5 ] || exit $$code; }
tests: $(VENV)/.installed-dev
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder -m "not speed" $(ARGS) || $(NONE_SELECTED)
	$(BIN)/pytest -m speed $(ARGS) || $(NONE_SELECTED)

chaos: $(VENV)/.installed-dev ## Run the long form of the fault tests: 200 kills
	GATEWAY_CHAOS=200 $(BIN)/pytest tests/process/test_chaos.py $(ARGS)

bench: $(VENV)/.installed-dev ## Measure speed against a bare aiohttp handler and other programs (12 minutes, alone on two cores; needs wrk)
	$(BIN)/python -m tests.benchmarks.run --json dist/bench.json $(ARGS)

bench-quick: $(VENV)/.installed-dev ## Measure the same with less of everything (2 minutes)
	$(BIN)/python -m tests.benchmarks.run --size quick --json dist/bench-quick.json $(ARGS)

bench-large: $(VENV)/.installed-dev ## Measure questions at 10,000,000 messages, an upgrade, and how long the writer is held (half an hour, 20 GB in build/)
	$(BIN)/python -m tests.benchmarks.large
	$(BIN)/python -m tests.benchmarks.large_postgres
	$(BIN)/python -m tests.benchmarks.holds
	$(BIN)/python -m tests.benchmarks.requests.run --json dist/bench-large.json $(ARGS)

# If npm cannot get the ready-made binary of better-sqlite3, it compiles it with the headers of the Node.js that is installed.
NODE_HEADERS = $(if $(wildcard /usr/include/node/node.h),npm_config_nodedir=/usr)
bench-peers: ## Install the receivers that make bench measures beside the gateway into build/peers (FastAPI, and Express if there is npm)
	$(PYTHON) -m venv build/peers/python
	build/peers/python/bin/pip install --quiet --disable-pip-version-check --requirement tests/benchmarks/peers/requirements.txt
	mkdir -p build/peers/node && cp tests/benchmarks/peers/package.json build/peers/node/
	! command -v npm > /dev/null || $(NODE_HEADERS) npm install --prefix build/peers/node --no-audit --no-fund

profile: $(VENV)/.installed-dev ## Show where the gateway's processor time goes, by folder and by library
	$(BIN)/python -m tests.benchmarks.cpu_by_part $(ARGS)

browser: $(VENV)/.installed-dev ## Look at every page in a real Chromium in every way, also at those that make test leaves out
	GATEWAY_BROWSER=1 $(BIN)/pytest tests/browser $(ARGS)

screenshots: $(VENV)/.installed-dev ## Take pictures of every mail, Slack message and page into dist/screenshots/ (needs Chromium)
	$(BIN)/python -m tests.screenshots.render
	$(BIN)/python -m tests.screenshots.pages $(ARGS)

schema: $(VENV)/.installed ## Generate gateway/config/gateway.schema.json from the structs and gateway.toml.example
	$(BIN)/python -m gateway.config.schema gateway.toml.example

docs: $(VENV)/.installed-dev ## Generate the tables of docs/reference.md that follow from the code
	$(BIN)/python -m tests.docs.generated

package: ## Build the wheel into dist/, and a source archive that `make install` works in
	@$(INSTALL) package

package-test: $(VENV)/.installed-dev ## Install the wheel with pipx and with uv, and run it
	GATEWAY_PACKAGE=1 $(BIN)/pytest tests/service/test_package.py $(ARGS)

install: ## Install into PREFIX (/opt/legitmark-gateway), beside the running release
	@$(INSTALL) release

install-service: install ## Install the release, and the units, the user, the folders and the command for systemd
	@$(INSTALL) service

uninstall: ## Remove the release and the service; configuration, database and logs stay
	@$(INSTALL) uninstall

constraints: $(VENV)/.installed-dev ## Pin the dependencies again (installs uv from PyPI into the venv)
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --extra postgres --extra speed \
		--python-version 3.11 --output-file constraints.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --group build \
		--python-version 3.11 --output-file systemd/constraints.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --group dev \
		--python-version 3.11 --constraint constraints.txt --constraint systemd/constraints.txt --output-file tests/constraints.txt pyproject.toml

clean: ## Remove everything that the other targets made
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.installed: pyproject.toml constraints.txt systemd/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv is missing: on Debian and Ubuntu, apt install python3-venv"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt -r systemd/constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed tests/constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tests/constraints.txt
	touch $@
