# make quickstart   install, get real images, train with all five methods, write a report
# make test         lint, types and every fast test
# make test-ci      what CI runs after it: tests of seconds with processes and kills, the pages' examples, benches in small
# make test-slow    the tests that take minutes
# make fleet        a server and four devices on this machine, over Flower with TLS: a complete training, compared
# make fleet-photos PHOTOS=FOLDER   the same on your photographs, with devices that run ONNX and no PyTorch
# make test-flower  the tests of the Flower adapter, those of fleets with intruders and kills too, with the oldest and newest Flower
# make chaos        kill servers and devices at random moments; every run must end with the identical result
# make fuzz         a million mutated messages and bundles, peers that lie, edited files, two minutes guided by coverage
# make package      build wheel and source package, check them, install them into clean environments and try them
# make release-notes   what CHANGELOG.md says of this version, for its tag
# make docs         write the pages and pictures that are taken from the code, and build the documentation site
# make bench        how fast it trains beside a plain loop: ratios, memory, codecs, buffer, where the time goes
# make results-check   two recorded rows again, at reduced size, and whether the figures of the pages are recorded
# make notebooks    run the notebooks of docs/notebooks/, and keep what they print and draw
# make docs-links   look whether the links to other sites lead somewhere
# make docs-check   the examples of the documentation, and that its generated pages are up to date
# make screenshots RUN=runs/quickstart   the documentation's pictures of a report, a terminal and itself; needs Chromium, tmux
# make clean        remove the environment and the caches; results in runs/ stay

VENV := .venv
BIN := $(VENV)/bin
FLOWER := .venv-flower
FLOWER_NEWEST := .venv-flower-newest
RELEASE := .venv-release
OUT := runs/quickstart
SITE := build/site
# How many methods are trained at a time
JOBS ?= $(shell nproc 2>/dev/null || echo 1)

# The first interpreter that is new enough; override with make PYTHON=/path/to/python
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
    "$$p" -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && echo "$$p" && break; done)

.PHONY: quickstart test test-ci test-slow tutorial chaos fuzz fleet fleet-photos test-flower package release-notes lint docs notebooks bench results-check docs-links docs-check screenshots clean
.DEFAULT_GOAL := quickstart

quickstart: $(VENV)/.train
	@$(BIN)/ecofed data fetch fashion-mnist || { \
	    echo "Fashion-MNIST is out of reach: using scikit-learn's digits, a small set of real images, instead."; \
	    $(BIN)/pip install --quiet -c constraints.txt -e '.[digits]'; }
	$(BIN)/ecofed compare quickstart --out $(OUT) --jobs $(JOBS) --resume
	@echo && echo "Report: $(CURDIR)/$(OUT)/report.html"

# Tests start many processes, which find what others have compiled.
test: lint
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -n auto --dist worksteal

test-ci: $(VENV)/.dev
	$(BIN)/pytest -n auto --dist worksteal -m "ci and not slow"

test-slow: $(VENV)/.dev
	$(BIN)/pytest -n auto --dist worksteal -m slow

# The presets that the page names, with installation, a fleet at its end. PICTURES=FOLDER stands in for its pictures/.
tutorial: $(VENV)/.dev
	$(BIN)/python tests/tutorial.py $(if $(PICTURES),--pictures "$(PICTURES)")

# Flower wants older versions of some packages, so it has an environment of its own.
fleet: $(FLOWER)/.installed
	@$(FLOWER)/bin/ecofed data fetch fashion-mnist || echo "Fashion-MNIST is out of reach: scikit-learn's digits instead."
	$(FLOWER)/bin/ecofed fleet try --out runs/fleet

# A fifth of each class is tested on where the folder has no test/; any set that 'ecofed data list' knows will do, too.
fleet-photos: $(FLOWER)/.installed
	@test -n "$(PHOTOS)" || { echo "Say which photographs: make fleet-photos PHOTOS=FOLDER (class folders)"; exit 2; }
	$(FLOWER)/bin/ecofed fleet try photos-trial --worker onnx \
	    --set "data.name=$(PHOTOS)" --out runs/fleet-photos --minutes 15

test-flower: $(FLOWER)/.installed $(FLOWER_NEWEST)/.installed
	$(FLOWER)/bin/python -m pytest -m "slow or not slow" tests/flower
	$(FLOWER_NEWEST)/bin/python -m pytest tests/flower

package: $(RELEASE)/.installed
	$(RELEASE)/bin/python tests/package.py dist

release-notes:
	@"$(PYTHON)" docs/release_notes.py

chaos: $(VENV)/.dev
	PYTHONPATH=tests $(BIN)/python tests/runtimes/chaos.py

fuzz: $(VENV)/.dev
	$(BIN)/python tests/wire/fuzz.py
	$(BIN)/python tests/fuzz_peers.py --seconds 180
	$(BIN)/python tests/fuzz_files.py --seconds 120
	$(BIN)/python tests/wire/guided.py --seconds 120

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(VENV)/.docs
	$(BIN)/python docs/generate_reference.py
	$(BIN)/python docs/generate_house.py
	$(BIN)/python docs/generate_pipelines.py
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs $(SITE)
	@echo "Documentation: $(CURDIR)/$(SITE)/index.html"

# Other frameworks beside it: make bench WITH=flower,pfl-research (it says what they need).
bench: $(VENV)/.train
	$(BIN)/python benchmarks/bench.py --with "$(WITH)" --json runs/bench.json

# Two rows of docs/results.md at reduced size, drawn at random, against what is recorded; and the figures in README and docs.
results-check: $(VENV)/.dev
	$(BIN)/python benchmarks/results_check.py check

# What they print and draw is kept in them.
notebooks: $(VENV)/.docs
	$(BIN)/python docs/run_notebooks.py

# Links to other sites, too: needs the internet.
docs-links: $(VENV)/.docs
	$(BIN)/python -m sphinx -q -b linkcheck docs build/linkcheck

screenshots: docs
	$(BIN)/python docs/generate_screenshots.py $(RUN)
	$(BIN)/python docs/generate_terminal.py

docs-check: $(VENV)/.dev
	$(BIN)/pytest -n auto --dist worksteal -m "not slow" tests/docs

clean:
	rm -rf $(VENV) $(FLOWER) $(FLOWER_NEWEST) $(RELEASE) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build

# Stamps: an installation is repeated only when what it installs has changed.
$(VENV)/.train: pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/pip install --quiet -c constraints.txt -e '.[train]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.train $@

$(VENV)/.docs: $(VENV)/.dev
	$(BIN)/pip install --quiet -c constraints.txt -e '.[docs]'
	@touch $@

$(FLOWER)/.installed: pyproject.toml constraints-flower.txt
	@test -x $(FLOWER)/bin/pip || "$(PYTHON)" -m venv $(FLOWER)
	$(FLOWER)/bin/pip install --quiet -c constraints-flower.txt -e '.[flower,train,device,digits]' pytest hypothesis
	@touch $@

# The newest Flower that pyproject.toml allows; all else as in the other one.
$(FLOWER_NEWEST)/.installed: pyproject.toml constraints-flower.txt
	@test -x $(FLOWER_NEWEST)/bin/pip || "$(PYTHON)" -m venv $(FLOWER_NEWEST)
	grep -v '^flwr==' constraints-flower.txt > $(FLOWER_NEWEST)/constraints.txt
	$(FLOWER_NEWEST)/bin/pip install --quiet --upgrade -c $(FLOWER_NEWEST)/constraints.txt \
	    -e '.[flower,train,device,digits]' pytest hypothesis
	@touch $@

$(RELEASE)/.installed: pyproject.toml
	@test -x $(RELEASE)/bin/pip || "$(PYTHON)" -m venv $(RELEASE)
	$(RELEASE)/bin/pip install --quiet 'build>=1.2' 'packaging>=24' 'twine>=6'
	@touch $@

$(BIN)/pip:
	@test -n "$(PYTHON)" && "$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null || { \
	    echo "error: Python 3.11 or newer is needed and none was found; if you have one: make PYTHON=/path/to/python" >&2; \
	    exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "error: this Python cannot make virtual environments; on Debian or Ubuntu: sudo apt install python3-venv" >&2; \
	    exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	@echo "Installing into $(VENV); the first time takes a few minutes."
