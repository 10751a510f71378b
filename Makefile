# make demo         set up .venv and train the tutorial's task between two processes
# make test         set up .venv and run the tests
# make test-busy    run those with real parties beside four processes that only compute
# make browser      the console's tests in a real browser; PICTURES=DIR also keeps what it shows
# make ray          the tests of --engine that start a Ray on this machine, and a cluster of two nodes
# make check        lint, types, generated code
# make native       compile protocols/he/native in place (installing does it too; without a compiler SEAL is used)
# make sanitize     the kernel's tests under address and undefined-behaviour sanitizers, warnings as errors
# make sanitize-quick   the C alone under them and one for threads: its instruction sets beside each other; a minute of a core
# make constant-time    what was compiled, in valgrind, with its secrets marked: nothing may branch on them
# make emulated-arm     its NEON set beside portable C, in an emulator (aarch64-linux-gnu-gcc, qemu-aarch64)
# make docs    the documentation, into site/
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
DEMO_OPTIONS ?= --rounds 5
PICTURES ?=

.PHONY: demo test test-busy browser ray check native sanitize sanitize-quick constant-time emulated-arm docs clean

demo: $(VENV)/.run
	$(BIN)/secure-hfl demo $(DEMO_OPTIONS)

test: $(VENV)/.dev native
	$(BIN)/python -m pytest

# Limits follow the load: tests that pass alone must pass here.
BUSY_TESTS ?= tests/engine tests/hostile tests/faults tests/cli tests/secrets tests/transport
test-busy: $(VENV)/.dev
	@loops=""; for each in 1 2 3 4; do yes >/dev/null & loops="$$loops $$!"; done; trap "kill $$loops" EXIT; \
	$(BIN)/python -m pytest $(BUSY_TESTS)

# Debian's Chromium is fetched where none is installed, and may be; without one there is nothing to run.
browser: $(VENV)/.dev
	.ci/chromium && SECURE_HFL_BROWSER_TESTS=1 SECURE_HFL_SCREENSHOTS="$(PICTURES)" $(BIN)/python -m pytest -n0 tests/browser

# Each in a process of its own: Ray reads its settings once.
ray: $(VENV)/.dev
	SECURE_HFL_TEST_RAY=1 $(BIN)/python -m pytest -n0 tests/test_ray_executor.py
	SECURE_HFL_TEST_RAY=1 $(BIN)/python -m pytest -n0 tests/test_ray_cluster.py

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHON=$(BIN)/python proto/generate.sh --check

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

native: $(VENV)/.native

# Not an error without a compiler.
$(VENV)/.native: $(VENV)/.dev hatch_build.py $(wildcard protocols/he/native/*.[ch] protocols/he/native/*.inc)
	-$(BIN)/python hatch_build.py && touch $@

# In a copy, so that the module in use stays as it is. Python leaks on purpose at exit, so leaks are not looked for.
SANITIZED := build/sanitized
sanitize: $(VENV)/.dev
	rm -rf $(SANITIZED) && mkdir -p $(SANITIZED)
	cp -r protocols tests benchmarks secure_hfl pyproject.toml hatch_build.py $(SANITIZED)
	rm -f $(SANITIZED)/protocols/he/native/_kernel*.so
	cd $(SANITIZED) && \
	SECURE_HFL_NATIVE_CFLAGS="-O1 -g -Wall -Wextra -Wshadow -Werror -fsanitize=address,undefined -fno-sanitize-recover=all" \
	SECURE_HFL_NATIVE_LDFLAGS="-fsanitize=address,undefined" $(abspath $(BIN))/python hatch_build.py
	cd $(SANITIZED) && LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc $(abspath $(BIN))/python -m pytest -n0 tests/protocols/he/native

KERNEL := $(wildcard protocols/he/native/*.c)
KERNEL_TESTS := tests/protocols/he/native
WARNINGS := -Wall -Wextra -Wshadow -Werror

# -Og compiles in a third of the time that -O1 takes.
sanitize-quick:
	mkdir -p build
	$(CC) -Og -g1 -ffp-contract=off $(WARNINGS) -fsanitize=address,undefined -fno-sanitize-recover=all \
	-o build/compare_sets_sanitized $(KERNEL_TESTS)/compare_sets.c $(KERNEL)
	build/compare_sets_sanitized quick
	$(CC) -Og -g1 -ffp-contract=off $(WARNINGS) -fsanitize=thread -o build/compare_sets_threads $(KERNEL_TESTS)/compare_sets.c $(KERNEL)
	build/compare_sets_threads packed

# With the flags of hatch_build.py. valgrind knows no AVX-512. The first run shows that it finds a branch that is there.
constant-time:
	mkdir -p build
	$(CC) -O3 -g1 -fvisibility=hidden -ffp-contract=off $(WARNINGS) -o build/secrets_steer_nothing \
	$(KERNEL_TESTS)/secrets_steer_nothing.c $(KERNEL)
	! valgrind --quiet --error-exitcode=1 build/secrets_steer_nothing check 2>/dev/null
	valgrind --quiet --error-exitcode=1 build/secrets_steer_nothing scalar $(if $(filter x86_64,$(shell uname -m)),avx2,neon)

emulated-arm:
	mkdir -p build
	aarch64-linux-gnu-gcc -O3 -ffp-contract=off $(WARNINGS) -static -o build/compare_sets_arm $(KERNEL_TESTS)/compare_sets.c $(KERNEL)
	qemu-aarch64 build/compare_sets_arm quick

clean:
	rm -rf $(VENV) build dist site *.egg-info protocols/he/native/_kernel*.so

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# phe is GPLv3 and comes with the extra "paillier"; the wheels of "fast" exist for x86-64 Linux only.
$(VENV)/.run: $(BIN)/python pyproject.toml
	$(PIP) --editable '.[mnist,data,paillier,fast]'
	touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml
	$(PIP) --editable '.[mnist,data,paillier,fast,dev]'
	touch $@ $(VENV)/.run

$(VENV)/.docs: $(BIN)/python pyproject.toml
	$(PIP) --editable '.[docs]'
	touch $@
