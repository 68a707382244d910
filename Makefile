# Two commands for newcomers: `make demo` and `make test`. Each does the set-up it needs first.
.DEFAULT_GOAL := help
PY := .venv/bin/python
RUN := .venv/bin

.PHONY: help setup demo test chaos check format sim model bench bench-peers bench-takeover bench-idle bench-fleet bench-guard bench-build bench-adopt bench-repair bench-broadcasts bench-wide bench-survivals bench-entries bench-flow-sync lock clean

help:  ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Whose Python is gone or was replaced, whatever was installed into it.
ifneq ($(shell $(PY) -c 'import pip' 2>/dev/null && echo works),works)
.PHONY: .venv/.runtime .venv/.dev
endif

setup: .venv/.runtime .venv/.dev  ## everything into .venv, so .venv/bin/gapless (Debian packages too, when root)

.venv/.runtime: requirements/runtime.txt pyproject.toml scripts/setup
	@scripts/setup runtime

.venv/.dev: requirements/dev.txt pyproject.toml scripts/setup | .venv/.runtime
	@scripts/setup dev

demo: .venv/.runtime  ## a host dies, its routers run elsewhere: real namespaces, real packets, no root needed
	@scripts/prerequisites
	@$(RUN)/gapless demo $(ARGS)

test: setup  ## the whole test suite with real namespaces, nftables and OpenStack clients (ARGS= for pytest)
	@scripts/prerequisites test
	@scripts/test $(ARGS)

chaos: setup  ## real processes killed, stopped and cut off, again and again (ROUNDS=5)
	@scripts/prerequisites test
	@scripts/chaos $(ROUNDS)

check: setup  ## format, lint, types and layer contracts
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports

format: setup  ## format and sort imports
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

sim: setup  ## planner, leases and hosts on virtual time, many seeds (SEEDS=10000)
	$(PY) -m gapless.sim all --seeds $(or $(SEEDS),10000)

model:  ## every state of the lease protocol, with Spin (ARGS=--mutations: each rule taken away)
	@docs/model/check $(ARGS)

bench: setup  ## takeovers (ARGS for these), beside keepalived, rescheduling: distributions
	@scripts/prerequisites bench
	@status=0; \
	$(PY) bench/takeover.py $(ARGS) || status=1; \
	$(PY) bench/peers.py || status=1; \
	$(PY) bench/reschedule.py || status=1; \
	exit $$status

bench-peers: setup  ## only Gapless and keepalived side by side (ARGS= for bench/peers.py)
	@scripts/prerequisites bench
	$(PY) bench/peers.py $(ARGS)

bench-takeover: setup  ## only takeovers, of one kind after another (ARGS=--list: which there are)
	@scripts/prerequisites bench
	$(PY) bench/takeover.py $(ARGS)

bench-idle: setup  ## what hosts cost while nothing happens (ARGS= for bench/idle.py)
	@scripts/prerequisites
	$(PY) bench/idle.py $(ARGS)

bench-fleet: setup  ## what a controller costs that leads many hosts (ARGS= for bench/fleet.py; short without)
	$(PY) bench/fleet.py $(or $(ARGS),--fleets 30x3000 --seconds 20)

bench-guard: setup  ## what the guard takes from traffic (ARGS= for bench/guard.py)
	@scripts/prerequisites bench
	$(PY) bench/guard.py $(ARGS)

bench-build: setup  ## building and deleting routers, beside the bare kernel (ARGS= for bench/build_routers.py; short without)
	@scripts/prerequisites
	$(PY) bench/build_routers.py $(or $(ARGS),--routers 100 --rounds 3)

bench-adopt: setup  ## what the end of an agent costs a host (ARGS= for bench/adopt.py; short without)
	@scripts/prerequisites
	$(PY) bench/adopt.py $(or $(ARGS),--routers 100 --rounds 2)

bench-repair: setup  ## what each way to break a router costs it (ARGS= for bench/repair.py; short without)
	@scripts/prerequisites
	$(PY) bench/repair.py $(or $(ARGS),--routers 100 --times 5)

bench-broadcasts: setup  ## what a broadcast on an external network costs a host (ARGS= for bench/broadcasts.py; short without)
	@scripts/prerequisites
	$(PY) bench/broadcasts.py $(or $(ARGS),--routers 100 --rounds 2)

bench-wide: setup  ## more routers of one external network than a bridge has ports (ARGS= for bench/wide.py; short without)
	@scripts/prerequisites
	$(PY) bench/wide.py $(or $(ARGS),--routers 1100)

bench-survivals: setup  ## which connections survive, beside keepalived and conntrackd (ARGS= for bench/survivals.py; short without)
	@scripts/prerequisites bench
	$(PY) bench/survivals.py $(ARGS)

bench-entries: setup  ## takeovers with many copied connections and with none, in turn (ARGS= for bench/entries.py; short without)
	@scripts/prerequisites
	$(PY) bench/entries.py $(or $(ARGS),--entries 10000 --pairs 3)

bench-flow-sync: setup  ## what it costs to copy connections, and whether all are right (ARGS= for bench/flow_sync.py)
	@scripts/prerequisites
	$(PY) bench/flow_sync.py $(ARGS)

lock:  ## pin the newest versions that fit, with hashes (needs uv)
	scripts/lock

clean:  ## remove what make made
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
