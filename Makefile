# What people and CI run. Every target installs what it lacks (tools/setup) and can be run again.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run demo build release test prometheus-test dashboards dashboards-test deploy-test lint deny fuzz bench measure docs e2e record-streams

CACHE := $(or $(NODEWHY_CACHE),$(HOME)/.cache/nodewhy)
TARGET := $(or $(CARGO_TARGET_DIR),target)
export PATH := $(CACHE)/bin:$(PATH)

# `make run ARGS="--listen 127.0.0.1:9910"`
ARGS ?=
# For `make fuzz`: for each target.
SECONDS ?= 60

help: ## Show this.
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 24

run: build ## Build, and run the agent on this machine; it begins with a real kill that it explains.
	@exec $(TARGET)/debug/nodewhy agent --demonstrate $(ARGS)

demo: build ## The same, printed once.
	@exec $(TARGET)/debug/nodewhy demo $(ARGS)

# Not optimised: whoever tries it waits for the first explanation, not for the compiler's last few per cent, and the
# tests use the same build.
build: ## The program as `make run` uses it.
	@tools/setup build
	@cargo build --locked

release: ## The program as it is shipped: target/release/nodewhy.
	@tools/setup build
	@cargo build --locked --release

# Where a right is missing (root, cgroups, the kernel's log) a test says so and passes; with CI=true it fails.
test: ## All tests.
	@tools/setup build test
	cargo test --locked --all-targets
	cargo test --locked --doc
	if [ -d tests/kubernetes/e2e ]; then python3 -m unittest discover -s tests/kubernetes -t tests/kubernetes; fi

prometheus-test: ## Rules and alerts in a real Prometheus and Alertmanager, and their error rates in a simulation.
	tests/prometheus/run

lint: deny ## Format, clippy with and without the journal, licences and sources of dependencies.
	@tools/setup build
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --all-targets --no-default-features -- -D warnings

# The check of advisories needs a clone of RustSec's database from github.com, which build machines without that
# access cannot have: where it can be reached, `cargo deny check advisories` is the command.
deny:
	@tools/setup deny
	cargo deny --locked --log-level warn check --hide-inclusion-graph bans licenses sources

fuzz: ## Fuzz every parser for SECONDS each (60).
	@tools/setup build fuzz
	tools/fuzz $(SECONDS)

bench: ## Time the engine; figures in docs/performance.md.
	@tools/setup build
	cargo bench --locked --bench engine $(if $(ARGS),-- $(ARGS))

measure: release ## Measure the running agent on this machine: memory, CPU, latency, floods. As root.
	tests/measure/run $(TARGET)/release/nodewhy $(ARGS)

docs: ## Write the generated pages anew.
	@tools/setup build
	UPDATE_DOCS=1 cargo test --locked --lib metrics
	UPDATE_DOCS=1 cargo test --locked --test docs

dashboards: ## Write dashboards/*.json anew from dashboards/source.
	@tools/setup dashboards
	dashboards/generate

dashboards-test: ## The dashboards against Grafana's schema, the rules for mixins and a real Prometheus; the runbooks' pages.
	@tools/setup dashboards-test
	tests/dashboards/run

# The first time it fills $(CACHE), as `make e2e` does, and makes the image's base: a quarter of an hour.
deploy-test: release ## The image and the chart: built, rendered, held to Kubernetes' definitions. As root.
	tests/deploy/run $(TARGET)/release/nodewhy $(ARGS)

# Takes minutes, and the first time a quarter of an hour more to fill $(CACHE).
e2e: release ## A real Kubernetes, on this machine, with the agent in it. As root.
	tests/kubernetes/run --agent $(TARGET)/release/nodewhy $(ARGS)

record-streams: ## Record the kills of tests/streams anew; review what changes. As root.
	@tools/setup build test
	tests/streams/record
