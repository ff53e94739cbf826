# `make reproduce` and `make test` are the two commands a newcomer needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: bytecode figures docs release-check claims readme-table coverage places mutation lock audit dist sbom test-long plugin-matrix help venv reproduce test lint types imports bench detector conformance endurance soak sabotage runtimes examples clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("harness needs Python >= 3.11, this is %d.%d: set PYTHON=/path/to/python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps --require-hashes --requirement constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/pip check --disable-pip-version-check >/dev/null || $(BIN)/pip check --disable-pip-version-check
	@touch $@

venv: $(STAMP)  ## virtual environment with pinned dependencies, nothing else

reproduce: venv  ## the crash, its causes and its fixes, profile by profile
	$(BIN)/harness reproduce $(ARGS)

# A run in CLAIMS that was interrupted is continued. Exit 1 or 3 of it leave a table that says what differs or is missing.
CLAIMS ?= reports/claims
claims: venv  ## every claim of the analysis, measured: docs/claims.md and the table of README (45 minutes)
	@if [ -e "$(CLAIMS)/claims.json" ]; then where="--resume $(CLAIMS)"; else where="--out $(CLAIMS)"; fi; \
	  $(BIN)/harness reproduce --all $$where $(ARGS); status=$$?; \
	  case $$status in 0|1|3) $(BIN)/python -m tools.claims "$(CLAIMS)" && exit $$status;; *) exit $$status;; esac

readme-table: venv  ## the table of README and docs/claims.md again, from docs/claims.json
	$(BIN)/python -m tools.claims

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv
	$(BIN)/mypy

imports: venv
	$(BIN)/lint-imports

# A test that cannot be imported is reported by the run itself.
bytecode: venv
	@$(BIN)/pytest --collect-only --quiet -p no:cacheprovider >/dev/null || true

# Most tests wait for a service rather than compute; a file stays with one worker, so its servers are shared. Files that
# take longest start first (tests/longest_first.py).
JOBS ?= 6
# The job of tests/skips.toml whose reasons for a skip are allowed; any other reason fails.
SKIPS ?= machine

# In a fresh clone each of the six workers would compile all tests (10 s of CPU time), and the type check leaves one core
# idle for as long: so the tests are compiled beside it, once.
test: venv  ## lint, types, import contracts and tests
	@$(MAKE) --no-print-directory --jobs=4 --output-sync=target lint types imports bytecode
	$(BIN)/pytest --skips $(SKIPS) -m 'not soak' --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

# Measuring what runs costs more than the tests themselves, so make test leaves it out; the nightly job runs it.
coverage: venv  ## which lines of the core its tests run; fails below 90 %
	$(BIN)/pytest tests/core -m 'not soak' --cov=harness.core --cov-report=term --cov-fail-under=90 $(ARGS)

test-long: venv  ## the tests that make test leaves out (an hour or two)
	$(BIN)/pytest -m soak --timeout 1200 $(ARGS)

bench: venv  ## every benchmark, ours and its rivals in one run (minutes)
	$(BIN)/python -m bench

detector: venv  ## error rates of the judge on every simulated row, those held back from tuning included (hours)
	$(BIN)/python -m bench.detector --runs 3000 --held-back with $(ARGS)

conformance: venv  ## the decoder against Chromium and npm's eventsource-parser
	$(BIN)/python -m bench.conformance

endurance: venv  ## the load generator itself: 50,000 streams in one process leave nothing behind
	$(BIN)/pytest tests/edges/test_swarm_endurance.py -m 'soak or not soak' $(ARGS)

SABOTAGE_REPEAT ?= 1
SABOTAGE_BENIGN ?= $(SABOTAGE_REPEAT)

sabotage: venv  ## planted leaks and benign behaviour, really run: the table of docs/sabotage.md (an hour)
	$(BIN)/python -m tests.sabotage --repeat $(SABOTAGE_REPEAT) --benign $(SABOTAGE_BENIGN) $(ARGS)

mutation: venv  ## small changes of the source that no test notices (ARGS='harness/core/units.py'; all: hours)
	$(BIN)/python -m tests.mutation $(ARGS)

places: venv  ## 20 planted leaks beside two busy loops: the first place is the planted line (half an hour)
	$(BIN)/python -m bench.places $(ARGS)

picture: venv  ## docs/report.png, from a run of today
	$(BIN)/python -m tools.picture

examples: venv  ## guard every example, healthy and leaky (under 5 minutes)
	$(BIN)/python -m examples $(ARGS)

runtimes: venv  ## runtime counters on every server, the long part
	$(BIN)/pytest tests/edges -k runtime -m 'soak or not soak' $(ARGS)

# python3.12 may be a shim that only says which versions there are: pyenv's own folder is looked at as well.
MATRIX_PYTHONS ?= 3.11 3.12 3.13
MATRIX_PYTESTS ?= 8 9

plugin-matrix:  ## the pytest plugin under two pytest majors and Python 3.11 to 3.13, where installed
	@set -e; for version in $(MATRIX_PYTHONS); do \
	  found=; for each in python$$version "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version.*/bin/python; do \
	    if "$$each" -c '' 2>/dev/null; then found=$$each; break; fi; done; \
	  if [ -z "$$found" ]; then echo "Python $$version is not installed: left out"; continue; fi; \
	  for major in $(MATRIX_PYTESTS); do \
	    home=$(VENV)/matrix/$$version-$$major; \
	    if [ ! -e $$home/.installed ]; then \
	      rm -rf $$home; "$$found" -m venv $$home; sed -nE '/^pytest==/d; s/^([A-Za-z0-9._-]+==[^ ]+).*/\1/p' constraints.txt > $$home/constraints.txt; \
	      $$home/bin/pip install --quiet --disable-pip-version-check --only-binary :all: -c $$home/constraints.txt setuptools; \
	      $$home/bin/pip install --quiet --disable-pip-version-check --prefer-binary --no-build-isolation \
	        -c $$home/constraints.txt -e '.[reference]' "pytest==$$major.*" \
	        pytest-timeout pytest-xdist pytest-asyncio pytest-randomly; \
	      touch $$home/.installed; \
	    fi; \
	    echo "== Python $$version, pytest $$major: $$($$home/bin/python -m pytest --version)"; \
	    $(MATRIX_RUN) $$home/bin/python -m pytest -p no:cacheprovider -p no:randomly -q tests/plugin $(ARGS); \
	  done; \
	done

# The tools live apart from the packages that the harness is tested with.
TOOLS := $(VENV)/tools
$(TOOLS)/.installed: tools/requirements.txt
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps --require-hashes --requirement $<
	@touch $@

LOCK = $(TOOLS)/bin/uv pip compile --quiet --python-version 3.11 --python-platform linux --generate-hashes --no-annotate \
  --custom-compile-command 'make lock' --no-build

# MkDocs lives apart too. Its warnings are errors, a broken link or anchor among them; pages under reference/ come from the
# code.
DOCS := $(VENV)/docs
$(DOCS)/.installed: tools/docs.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps --require-hashes --requirement $<
	@touch $@

docs: venv $(DOCS)/.installed  ## build/site: the documentation; warnings are errors
	rm -rf build/reference build/site
	$(BIN)/python -m tools.reference build/reference
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict
	@echo "docs: build/site/index.html"

release-check: venv  ## dist/: sdist and wheel; the wheel works in an empty environment
	$(BIN)/python -m tools.release_check

figures: venv  ## lines, modules, functions and comments of the code that ships
	@$(BIN)/python -m tools.source_figures $(ARGS)

lock: $(TOOLS)/.installed  ## pin again what pyproject.toml asks for, with hashes (ARGS=--upgrade: newest versions)
	$(LOCK) --extra dev --output-file constraints.txt $(ARGS) pyproject.toml
	$(LOCK) --extra reference --extra postgresql --extra prometheus --extra otlp --constraint constraints.txt \
	  --output-file deploy/requirements.txt $(ARGS) pyproject.toml deploy/requirements.in
	$(LOCK) --output-file tools/requirements.txt $(ARGS) tools/requirements.in
	$(LOCK) --output-file tools/docs.txt $(ARGS) tools/docs.in

audit: venv $(TOOLS)/.installed  ## installed packages against pins and known vulnerabilities
	$(BIN)/python -m tools.audit $(ARGS)

dist: venv  ## dist/: the wheel
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .

sbom: $(TOOLS)/.installed  ## dist/sbom.cdx.json: every pinned package and its hashes (CycloneDX)
	@mkdir -p dist
	$(TOOLS)/bin/python -W ignore $(TOOLS)/bin/cyclonedx-py requirements --pyproject pyproject.toml \
	  --mc-type application --output-reproducible --of JSON -o dist/sbom.cdx.json constraints.txt

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
