# `setup` starts with the first Python that is new enough; PYTHON=/path/to/python selects another one.
PYTHON ?= python3
PYTHONS = "$(PYTHON)" python3 python3.13 python3.12 python3.11
NEW_ENOUGH = import sys, venv; sys.exit(sys.version_info < (3, 11))

.PHONY: setup demo dev test test-quick test-faults test-cluster screenshots check bench

setup: ## everything the project needs, into .venv; quick when it is there
	@for python in $(PYTHONS); do \
	  if "$$python" -c "$(NEW_ENOUGH)" 2>/dev/null; then exec "$$python" promo_assets/local/setup.py; fi; \
	done; echo "setup: Python 3.11 or newer is needed; name it with make PYTHON=/path/to/python" >&2; exit 1

demo: setup ## the stream on local services, until Ctrl-C (ARGS=--exit: until all was seen)
	@.venv/bin/promo-assets demo $(ARGS)

dev: setup ## Dagster's UI on this checkout, with the local services
	@.venv/bin/promo-assets up >/dev/null && exec .venv/bin/promo-assets with-dagster dagster dev -w workspace.yaml

# Tests wait for servers more than they compute: two at a time, whole files, those with servers first.
WORKERS ?= 2
AT_ONCE = -n $(WORKERS) --dist loadscope --no-loadscope-reorder

test: setup ## all tests but the long ones
	@bash promo_assets_tests/install_kcat.sh
	@bash promo_assets_tests/deploy/install_compose.sh
	@bash promo_assets_tests/browser/install.sh
	@.venv/bin/python -m promo_assets.jvm.jars hdfs yarn postgres
	@.venv/bin/python -m promo_assets.local.class_data
	@.venv/bin/pytest $(AT_ONCE) $(ARGS)

test-quick: setup ## the tests that need no server and take no time, for while one edits
	@.venv/bin/python -m promo_assets.local.class_data
	@.venv/bin/pytest $(AT_ONCE) -m quick --durations=5 $(ARGS)

test-faults: setup ## processes are killed, over and over
	@.venv/bin/pytest promo_assets_tests/faults/test_kill.py --repeat=5 $(ARGS)
	@.venv/bin/pytest promo_assets_tests/faults/test_transactions.py --whole $(ARGS)

test-cluster: setup ## stream and lake on Spark's standalone cluster and on YARN, executors killed; Kafka's security, Postgres's fail-over and the push stand-in, whole
	@.venv/bin/python -m promo_assets.jvm.jars hdfs yarn postgres
	@.venv/bin/pytest promo_assets_tests/cluster promo_assets_tests/deploy promo_assets_tests/stream/kafka promo_assets_tests/faults/test_failover.py promo_assets_tests/commands/test_push.py --whole $(ARGS)

screenshots: setup ## take the README's screenshots again
	@bash promo_assets_tests/browser/install.sh
	@.venv/bin/pytest promo_assets_tests/browser --screenshots docs/images $(ARGS)

check: setup ## style, types, and who may import whom
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/basedpyright && .venv/bin/lint-imports

bench: setup ## each benchmark runs a peer and us in turn
	@for bench in benchmarks/*.py; do .venv/bin/python "$$bench" || exit 1; done
