# Visagist: every command of the suite. `make` alone lists them.
#
#   make train EXP=retouchformer_gamma0.1 SCALE=demo      train and evaluate, minutes on a CPU
#   make train EXP=retouchformer_gamma0.1                 the published run, on every visible GPU
#   make train EXP=... ARGS="--model.learning_rate=1e-4"  any setting, see `make show EXP=...`

EXP ?= retouchformer_gamma0.1
PYTHON ?= python3
VENV ?= .venv
RUNS ?= runs
SET ?= ffhqr
TUNED ?= 1
export RUNS

# Everything a command needs lies in the virtual environment; this file's age says how old it is.
READY := $(VENV)/.ready
PY := $(VENV)/bin/python
RUN_IT = $(TUNING) $(PY) -m experiments

# Fresh large allocations and threads that spin for long cost more than most kernels (see
# docs/runs.md). Threads that never spin (OMP_WAIT_POLICY=PASSIVE) cost a third on small networks.
ifeq ($(TUNED),1)
ifeq ($(shell uname -s),Linux)
ifneq ($(shell getconf GNU_LIBC_VERSION 2>/dev/null),)
TUNING := MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=268435456 \
	GOMP_SPINCOUNT=10000
endif
endif
endif

# Options that every run takes.
OPTIONS = $(if $(SCALE),--scale=$(SCALE)) $(if $(RUN),--run=$(RUN)) \
	$(if $(DEVICES),--trainer.devices=$(DEVICES)) $(if $(NODES),--trainer.num_nodes=$(NODES)) \
	$(if $(DATA_ROOT),--root=$(DATA_ROOT))

# $(call need,CKPT,<run>) ends a target whose variable is empty, unless it is asked for help.
need = $(if $($(1))$(filter -h --help,$(ARGS)),,@echo "$@: give $(1)=$(2)" >&2; exit 2)

.DEFAULT_GOAL := help
.PHONY: help install train validate evaluate predict restore export demo transfer data prepare show show-data \
	list weights report claims sweep bench kills docs check test format layers clean

help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'
	@echo "Variables: EXP SCALE RUN RESUME DEVICES NODES DATA_ROOT RUNS CKPT ON IN OUT FACE ALIGNED SET FROM TO SIZE FORMAT"
	@echo "           PAPER SEEDS SWEEP LOCAL TUNED ARGS"

install: $(READY) ## make .venv from constraints.txt

$(READY): pyproject.toml constraints.txt
	@echo "installing into $(VENV); the first time takes a few minutes"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

train: $(READY) ## train EXP and evaluate its final weights (SCALE=demo|smoke, RESUME=1, RUN=name)
	@$(RUN_IT) fit $(EXP) $(OPTIONS) $(if $(filter 1,$(RESUME)),--resume) $(ARGS)

validate: $(READY) ## score a trained EXP on the validation split
	@$(RUN_IT) validate $(EXP) $(OPTIONS) $(if $(CKPT),--ckpt=$(CKPT)) $(ARGS)

evaluate: $(READY) ## score a trained EXP on the test split (CKPT=last|best|path, ON=data of configs/data)
	@$(RUN_IT) test $(EXP) $(OPTIONS) $(if $(CKPT),--ckpt=$(CKPT)) $(if $(ON),--on=$(ON)) $(ARGS)

predict: $(READY) ## write the answers of a trained EXP as pictures
	@$(RUN_IT) predict $(EXP) $(OPTIONS) $(if $(CKPT),--ckpt=$(CKPT)) $(ARGS)

restore: $(READY) ## restore photographs, folders and clips by a trained run: CKPT IN OUT (ALIGNED=1 for crops)
	$(call need,CKPT,<run or checkpoint>)
	$(call need,IN,<photograph or folder or clip>)
	$(call need,OUT,<folder>)
	@$(RUN_IT) restore --ckpt='$(CKPT)' --in='$(IN)' --out='$(OUT)' $(if $(filter 1,$(ALIGNED)),--aligned) $(ARGS)

export: $(READY) ## write a trained network for use elsewhere: CKPT FORMAT=onnx|torchscript|pt2|safetensors TO
	$(call need,CKPT,<run or checkpoint>)
	@$(RUN_IT) export --ckpt='$(CKPT)' $(if $(FORMAT),--format=$(FORMAT)) --to='$(or $(TO),exported)' $(ARGS)

demo: $(READY) ## a page in the browser to try a trained network on: CKPT
	$(call need,CKPT,<run or checkpoint>)
	@$(RUN_IT) demo --ckpt='$(CKPT)' $(if $(filter 1,$(ALIGNED)),--aligned) $(ARGS)

transfer: $(READY) ## put a photograph's embedding on the faces of a clip: CKPT FACE IN OUT
	$(call need,CKPT,<run or checkpoint>)
	$(call need,FACE,<photograph>)
	$(call need,IN,<clip>)
	$(call need,OUT,<clip>)
	@$(RUN_IT) transfer --ckpt='$(CKPT)' --face='$(FACE)' --in='$(IN)' --out='$(OUT)' $(ARGS)

data: $(READY) ## draw a made-up data set: SET=ffhqr TO=folder SIZE=128
	@$(PY) -m experiments data --set=$(SET) --to=$(or $(TO),data/$(SET)_drawn) $(if $(SIZE),--size=$(SIZE)) $(ARGS)

prepare: $(READY) ## make a data set from photographs, shards or test sets: SET FROM TO SIZE FORMAT
	$(call need,FROM,<folder of photographs>)
	@$(PY) -m experiments prepare --set=$(SET) --from=$(FROM) $(if $(TO),--to=$(TO)) \
	$(if $(SIZE),--size=$(SIZE)) $(if $(FORMAT),--format=$(FORMAT)) $(ARGS)

show-data: $(READY) ## a contact sheet of what EXP's network sees, input beside target
	@$(PY) -m experiments show-data $(EXP) $(OPTIONS) $(ARGS)

show: $(READY) ## print EXP's merged settings, all defaults included
	@$(PY) -m experiments show $(EXP) $(OPTIONS) $(ARGS)

list: $(READY) ## name every experiment and its paper's numbers
	@$(PY) -m experiments list

weights: $(READY) ## list weights that others trained, or download some: ARGS="vgg19 yunet"
	@$(PY) -m experiments weights $(ARGS)

report: $(READY) ## gather the results of all runs beside the papers' numbers
	@$(PY) -m experiments report $(ARGS)

sweep: $(READY) ## run a W&B sweep file: SWEEP=file, LOCAL=1 without a server
	$(call need,SWEEP,<file>)
	@$(RUN_IT) sweep $(SWEEP) $(if $(filter 1,$(LOCAL)),--local) $(OPTIONS) $(ARGS)

bench: $(READY) ## measure the kernels against their baselines
	@$(TUNING) $(PY) -m benchmarks $(ARGS)

claims: $(READY) ## train what a paper's claims are judged by, then report: PAPER=crn SCALE SEEDS=3
	$(call need,PAPER,<crn or another of experiments/claims.yaml>)
	@$(RUN_IT) claims --paper=$(PAPER) $(if $(SEEDS),--seeds=$(SEEDS)) $(OPTIONS) $(ARGS)

kills: $(READY) ## runs killed in many places, against a whole one
	@$(TUNING) $(PY) -m benchmarks kills $(ARGS)

docs: $(READY) ## build the pages of docs/ into site/
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

check: $(READY) layers ## formatting, lint, types, layers and tests, as in CI
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(PY) -m pytest -n 2 $(ARGS)

test: check ## the same as check

format: $(READY) ## format the code and mend what lint can mend
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

layers: $(READY) ## check which package may import which
	@$(VENV)/bin/lint-imports

clean: ## remove caches (not data, runs or .venv)
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
