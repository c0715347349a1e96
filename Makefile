.DEFAULT_GOAL := help
.PHONY: help test lint bench-recovery

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/'

test: ## everything that must hold: format, lints, licences, build, docs, tests (installs what is missing)
	@.ci/tools
	@.ci/steps

lint: ## what needs no Redis: format, lints, licences
	@.ci/tools
	@.ci/steps fmt clippy deny

bench-recovery: ## how soon work goes on when something has died (release build, about five minutes)
	@cargo build --release --locked -p gristmill-benchmarks
	@"$${CARGO_TARGET_DIR:-target}/release/gristmill-benchmarks" recovery
