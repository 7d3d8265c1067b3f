# The manual of this repository: each target is one sentence of it.
PY := .venv/bin/python

.PHONY: setup demo test long sim fuzz mutants tables soak guest check format bench screenshots clean
SEEDS ?= 2000
MINUTES ?= 5
HOURS ?= 1

setup:            ## .venv with lattice-agent and lattice-control in .venv/bin
	@tools/setup.sh demo

demo: setup       ## a control plane, an agent, a few scripts: start to end, leaving nothing behind
	@$(PY) tools/demo.py

test:             ## the tests of every day (TESTS=path narrows it)
	@tools/setup.sh test
	@$(PY) -m pytest -q $(TESTS)

long:             ## what make test leaves out or does a little of: all rounds, seeds, levels and kinds of agents
	@tools/setup.sh test
	@LATTICE_TESTS=long $(PY) -m pytest -q -m "long or sized" $(TESTS)

sim:              ## agent and control plane in virtual time, with faults: SEEDS=n of them
	@tools/setup.sh test
	@$(PY) -m tests.sim --seeds $(SEEDS)

fuzz:             ## hostile input for every parser, for MINUTES=n
	@tools/setup.sh test
	@$(PY) -m tests.fuzz --minutes $(MINUTES)

mutants:          ## changes the modules that decide, one place at a time: do the tests notice?
	@tools/setup.sh test
	@$(PY) -m tests.mutants

tables:           ## docs: the tables of crashes, faults and containment, from a run of their tests
	@tools/setup.sh test
	@rm -rf build/evidence
	@LATTICE_EVIDENCE=build/evidence LATTICE_TESTS=long $(PY) -m pytest -q -m "" tests/crashes tests/faults tests/hostile
	@$(PY) -m tests.rigs.evidence build/evidence tests.crashes.table tests.faults.table tests.hostile.table

soak:             ## an agent and a control plane at work for HOURS=n, with faults; docs/soak.md
	@tools/setup.sh test
	@$(PY) -m tests.soak --hours $(HOURS)

guest:            ## cgroup v2 limits for real, in a small virtual machine (as root; TESTS=tests/guest/... narrows it)
	@tools/setup.sh test
	@tools/guest/run "$(GUEST_CACHE)" $(TESTS)

check:            ## format, lint, types, layers, generated documents
	@tools/setup.sh test
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/ruff check --quiet .
	@.venv/bin/mypy
	@$(PY) -m pytest -q tests/test_layers.py

format:           ## let ruff put the code into its form
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

bench: setup      ## the figures of the README, measured here
	@$(PY) bench/latency.py
	@$(PY) bench/footprint.py
	@$(PY) bench/sandbox.py
	@$(PY) bench/facts.py
	@$(PY) bench/usage.py
	@$(PY) bench/fleet.py
	@$(PY) bench/live.py
	@$(PY) bench/flood.py

screenshots:      ## docs/screenshots: every page of the control plane, light and dark, in a headless Chromium
	@tools/setup.sh test
	@$(PY) -m tools.screenshots

clean:            ## remove what the other targets made
	rm -rf .venv .mypy_cache .ruff_cache .hypothesis *.egg-info build dist
