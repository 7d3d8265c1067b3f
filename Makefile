# The manual of this repository: each target is one sentence of it.
PY := .venv/bin/python

.PHONY: setup demo test guest check format bench screenshots clean

setup:            ## .venv with lattice-agent and lattice-control in .venv/bin
	@tools/setup.sh demo

demo: setup       ## a control plane, an agent, a few scripts: start to end, leaving nothing behind
	@$(PY) tools/demo.py

test:             ## the whole test suite (TESTS=path narrows it)
	@tools/setup.sh test
	@$(PY) -m pytest -q $(TESTS)

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
