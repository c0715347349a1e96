.DEFAULT_GOAL := help
.PHONY: help test lint

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/'

test: ## everything that must hold: format, lints, licences, build, docs, tests (installs what is missing)
	@.ci/tools
	@.ci/steps

lint: ## what needs no Redis: format, lints, licences
	@.ci/tools
	@.ci/steps fmt clippy deny
