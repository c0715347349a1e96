.DEFAULT_GOAL := help
.PHONY: help demo test lint bench-recovery bench-maps bench-peers
# rustup may have installed cargo for later shells only.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/'

demo: ## what Gristmill does, shown on a private Redis and a worker, each result checked (ARGS: its options)
	@.ci/tools demo
	@cargo build --release --locked -p gristmill-cli -p gristmill-worker
	@"$${CARGO_TARGET_DIR:-target}/release/gristmill" demo $(ARGS)

test: ## everything that must hold: format, lints, licences, build, docs, tests (installs what is missing)
	@.ci/tools
	@.ci/steps

lint: ## what needs no Redis: format, lints, licences
	@.ci/tools lint
	@.ci/steps fmt clippy deny

bench-recovery: ## how soon work goes on when something has died (release build, about five minutes)
	@cargo build --release --locked -p gristmill-benchmarks
	@"$${CARGO_TARGET_DIR:-target}/release/gristmill-benchmarks" recovery

bench-maps: ## 10,000,000 lines, 1,000,000 with interruptions, 1 GiB of shared input (release build, then a minute or two)
	@cargo build --release --locked -p gristmill-cli -p gristmill-worker -p gristmill-benchmarks
	@status=0; for mode in lines resume shared; do \
		"$${CARGO_TARGET_DIR:-target}/release/gristmill-benchmarks" $$mode || status=1; echo; \
	done; exit $$status

bench-peers: ## the same tasks by Celery and by Python's process pools (a few minutes; Python packages into a folder of its own)
	@benchmarks/peers/run
	@benchmarks/peers/run killed
