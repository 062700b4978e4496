# The environment lies in .venv; its stamp is written last, so an interrupted build is done again.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# An editable install knows the packages it found, so a new one is installed anew.
SETTINGS := setup.py constraints.txt $(wildcard training/__init__.py)
EXTRAS := cpu,demo,dev,gbdt,mlflow,serve
ARGS ?=

# The first interpreter that runs, is of a supported version and can make environments. PYTHON= chooses one.
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3.11 python3.10 python3.12 python3)
SUITABLE := import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))

.DEFAULT_GOAL := help
.PHONY: help demo test check soak bench benchmark-named results clean-env
.DELETE_ON_ERROR:

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 18

demo: $(STAMP)  ## run every stage on public data; ARGS= goes to recsys
	@$(BIN)/python jobs/demo_data.py
	@$(BIN)/recsys --config conf/demo.yaml $(ARGS)

# Two processes, a Spark session each: a session plans on one core, and most of these tests are planning.
test: $(STAMP)  ## run all tests; ARGS= goes to pytest
	@$(BIN)/python -m pytest -q --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(STAMP)  ## format, lint, types, import rules, plain tests; under a minute
	@$(BIN)/ruff format --check --quiet --output-format concise .
	@$(BIN)/ruff check --quiet --output-format concise .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q -m "not spark and not torch and not gpu and not slow"

soak: $(STAMP)  ## kill runs at random moments, compare what is left: make soak ARGS="--kills 50"
	@$(BIN)/python -m tests.faults.soak $(ARGS)

bench: benchmark-named $(STAMP)  ## run one benchmark: make bench NAME=item_knn
	@$(BIN)/python -m benchmarks.$(NAME) $(ARGS)

benchmark-named:
	@test -f "benchmarks/$(NAME).py" || { echo "make bench takes NAME=, one of:" $$(cd benchmarks && grep -l "^ *report(" *.py | cut -d. -f1) >&2; exit 2; }

results: $(STAMP)  ## write docs/results.md; ARGS="--run NAME=PATH" adds runs
	@$(BIN)/python -m benchmarks.write_results $(ARGS)

clean-env:  ## remove .venv
	@rm -rf $(VENV)

$(STAMP): $(SETTINGS)
	@python=; for candidate in $(CANDIDATES); do \
		if "$$candidate" -c "$(SUITABLE)" >/dev/null 2>&1; then python=$$candidate; break; fi; done; \
	test -n "$$python" || { echo "error: no Python 3.10 to 3.12 with venv among: $(CANDIDATES); give one with PYTHON=/path/to/python" >&2; exit 1; }; \
	rm -rf $(VENV) && "$$python" -m venv $(VENV)
	@echo "installing into $(VENV), a few minutes the first time"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	@touch $@
