# The doors for people. The work is done by cargo and by deploy/local/*.py (each tells with --help what it does).
PYTHON ?= python3
# The document that the demo works on; empty: the example's own.
INPUT ?=
# How many services `make chaos` kills; a tenth as many on a cluster.
ROUNDS ?= 1000

MUSTER := $(PYTHON) deploy/local/muster.py
# rustup installs here; a shell that was open before does not know it yet.
export PYTHON
export INPUT
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: help demo demo-deliverables test test-live test-local-embeddings up down status check bench chaos clean-dev

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 32

demo: ## build, start everything, run the example (INPUT=file.md), leave nothing running
	@$(MUSTER) demo

demo-deliverables: ## the same with a team of six (INPUT=feature.md): what notices save
	@$(MUSTER) demo-deliverables

test: ## set everything up and run all tests
	@$(PYTHON) deploy/local/servers.py doctor
	@$(MUSTER) run env -u OPENAI_API_KEY -u OPENAI_BASE_URL -u ANTHROPIC_API_KEY -u GEMINI_API_KEY -u OLLAMA_HOST \
		sh -c 'cargo build --workspace --all-targets && cargo test --workspace --no-fail-fast'

test-live: ## ask the real model providers whose keys are set, and say which are skipped
	@$(PYTHON) deploy/local/servers.py doctor
	@$(MUSTER) run env MUSTER_LIVE=1 cargo test -p muster-model --test it live:: -- --nocapture --test-threads=1

test-local-embeddings: ## build and test the vectors of a BERT model in the process, which no other target builds
	@$(PYTHON) deploy/local/servers.py doctor
	@$(MUSTER) run cargo test -p muster-vector --features local-embeddings

up: ## start the whole platform in the background and print its address
	@$(MUSTER) up

down: ## stop the platform and its servers; data stays in .dev/data
	@$(MUSTER) down

status: ## say what runs
	@$(MUSTER) status || true

check: ## format, lints, docs, contracts
	@$(PYTHON) deploy/local/servers.py doctor
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --quiet
	$(PYTHON) deploy/local/buf.py lint
	$(PYTHON) deploy/local/buf.py breaking
	$(PYTHON) deploy/local/asyncapi.py

bench: ## measure (release build), print the table, write target/bench/results.json
	@$(PYTHON) deploy/local/servers.py doctor
	@$(MUSTER) run cargo run --release -p muster-bench

chaos: ## kill ROUNDS services at random while executions run, then services and servers on a NATS cluster, then its servers in every way
	@$(PYTHON) deploy/local/servers.py doctor
	@$(MUSTER) run env MUSTER_CHAOS_ROUNDS=$(ROUNDS) MUSTER_CHAOS_CLUSTER=$$(( ($(ROUNDS) + 9) / 10 )) \
		sh -c 'cargo build --workspace --bins && cargo test -p muster-tests chaos -- --nocapture --test-threads=1'

clean-dev: down ## stop everything and delete .dev (servers, data, logs)
	rm -rf "$(or $(MUSTER_DEV_DIR),.dev)"
