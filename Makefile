# The environment lies in .venv; its stamp is written last, so an interrupted build is done again.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# An editable install knows the packages it found, so a new one is installed anew.
SETTINGS := setup.py constraints.txt $(wildcard training/__init__.py)
EXTRAS := cpu,demo,dev,gbdt,mlflow,neural,serve,spark,test
ARGS ?=

# The first interpreter that runs, is of a supported version and can make environments. PYTHON= chooses one.
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3.11 python3.10 python3.12 python3)
SUITABLE := import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))

.DEFAULT_GOAL := help
.PHONY: help demo test test-faults test-spark4 test-dbr154 check dist soak bench benchmark-named results screenshot clean-env
.DELETE_ON_ERROR:

help:  ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 18

demo: $(STAMP)  ## run every stage on public data; ARGS= goes to recsys
	@$(BIN)/python jobs/demo_data.py
	@$(BIN)/recsys --config conf/demo.yaml $(ARGS)

# Two processes, a Spark session each: a session plans on one core, and most of these tests are planning.
IN_TWO := --numprocesses 2 --dist loadfile --no-loadscope-reorder
test: $(STAMP)  ## run all tests but the chain of kills; ARGS= goes to pytest
	@$(BIN)/python -m pytest -q $(IN_TWO) $(ARGS)

test-faults: $(STAMP)  ## run the tests of faults, the chain of kills among them
	@RECSYS_TEST_FAULTS=1 $(BIN)/python -m pytest -q tests/faults $(ARGS)

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

dist: $(STAMP)  ## build dist/: wheel, zip for --py-files; PACKED=all or light: an environment for --archives too
	@$(BIN)/python -m jobs.dist $(if $(PACKED),--packed $(PACKED:1=all))

results: $(STAMP)  ## write docs/results.md; ARGS="--run NAME=PATH" adds runs
	@$(BIN)/python -m benchmarks.write_results $(ARGS)

screenshot: demo  ## docs/report.png, the first screen of the demo's report; needs Chromium
	@$(BIN)/python -m benchmarks.screenshot "$$($(BIN)/recsys --config conf/demo.yaml | sed -n 's/^report: *//p')" docs/report.png

# Spark 4 without PyTorch, at the versions of constraints.txt but for PySpark's. Its Java is one of the machine's.
SPARK4 := .venv-spark4
SPARK4_VERSION := 4.0.5
$(SPARK4)/.installed: $(SETTINGS) $(STAMP)
	@rm -rf $(SPARK4) && $(BIN)/python -m venv $(SPARK4)
	@grep -v '^pyspark==' constraints.txt > $(SPARK4)/constraints.txt
	@$(SPARK4)/bin/python -m pip install -qq --disable-pip-version-check -c $(SPARK4)/constraints.txt \
		pyspark==$(SPARK4_VERSION) -e ".[cpu,demo,gbdt,spark,test]"
	@touch $@

test-spark4: $(SPARK4)/.installed  ## run the Spark tests on Spark 4, without PyTorch
	@$(SPARK4)/bin/python -m pytest -q $(IN_TWO) -m "spark and not torch and not slow and not cluster" tests \
		$(addprefix --ignore=tests/,deploy ranker serving support training) $(ARGS)

# The versions of Databricks Runtime 15.4 LTS ML. PyTorch's wheel wants CUDA libraries even where there is no GPU: those of
# .venv have the same names but for cuDNN.
DBR154 := .venv-dbr154
DBR154_CUDA = $$(echo $(CURDIR)/$(VENV)/lib/python3*/site-packages/nvidia/*/lib \
	$(CURDIR)/$(DBR154)/lib/python3*/site-packages/nvidia/*/lib | tr ' ' ':')
$(DBR154)/.installed: $(SETTINGS) constraints-dbr154.txt $(STAMP)
	@$(BIN)/python -c "import sys; sys.exit(sys.version_info[:2] != (3, 11))" || \
		{ echo "error: the runtime has Python 3.11, $(VENV) another; build it with PYTHON=python3.11" >&2; exit 1; }
	@rm -rf $(DBR154) && $(BIN)/python -m venv $(DBR154)
	@$(DBR154)/bin/python -m pip install -qq --disable-pip-version-check -c constraints-dbr154.txt \
		-e ".[cpu,demo,gbdt,spark,test]" dill diskcache filelock future jinja2 networkx pyzmq six sympy
	@$(DBR154)/bin/python -m pip install -qq --disable-pip-version-check --no-deps -c constraints-dbr154.txt \
		nvidia-cudnn-cu12 petastorm torch
	@touch $@

test-dbr154: $(DBR154)/.installed  ## run the tests on the versions of Databricks Runtime 15.4 LTS ML
	@LD_LIBRARY_PATH=$(DBR154_CUDA) $(DBR154)/bin/python -m pytest -q $(IN_TWO) -m "not slow and not cluster" \
		--ignore=tests/deploy --ignore=tests/serving $(ARGS)

clean-env:  ## remove the environments
	@rm -rf $(VENV) $(SPARK4) $(DBR154)

$(STAMP): $(SETTINGS)
	@python=; for candidate in $(CANDIDATES); do \
		if "$$candidate" -c "$(SUITABLE)" >/dev/null 2>&1; then python=$$candidate; break; fi; done; \
	test -n "$$python" || { echo "error: no Python 3.10 to 3.12 with venv among: $(CANDIDATES); give one with PYTHON=/path/to/python" >&2; exit 1; }; \
	rm -rf $(VENV) && "$$python" -m venv $(VENV)
	@echo "installing into $(VENV), a few minutes the first time"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	@touch $@
