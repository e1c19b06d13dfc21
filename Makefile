# Entry points of the project. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help install-deps build demo test lint test-long test-v2 bench bench-flow

help: ## List these targets
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  \1\t/' | expand -t 18

install-deps: ## Install what is missing on Debian or Ubuntu (needs root or sudo, says what and why)
	@scripts/install-deps.sh

build: install-deps ## Build the release program, target/release/berth
	$(CARGO) build --release --locked --package berth

demo: install-deps ## A three-node cluster on this machine, a service, a lost node; ends by itself
	@scripts/demo.sh

lint: ## Format, lints, crate walls, tidiness, licences
	@scripts/lint.sh

test: install-deps ## Everything that must pass before a change lands (containers need root or sudo)
	@scripts/lint.sh
	@scripts/test.sh

test-long: install-deps ## What takes too long for `make test`: fresh random cases, 200 integer programs, 5,000 more simulated clusters
	@scripts/test.sh --long

test-v2: ## The runtime's tests on cgroup v2 with systemd, in a virtual machine (software emulation)
	@scripts/test-v2.sh

bench: build ## Figures for docs/benchmarks.md
	@scripts/bench.sh

bench-flow: build ## Figures of the flow solver against its peers (PEERS=FOLDER, PARTS="peers drift"), into docs/benchmarks.md
	@scripts/bench-flow.sh $(PARTS)
