# The front door. `make` alone prints what there is.

# Everything is built from the committed Cargo.lock, and with one selection of packages, so that no dependency is
# compiled twice with other features.
CARGO ?= cargo
BUILD := $(CARGO) build --locked --workspace --bins --example demo
CRD   := crds/idissuer.pl_idissuercredentials.yaml

.DEFAULT_GOAL := help
.PHONY: help demo test simulation check crds figures full soak tools

help: ## Print this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

demo: ## Watch tokens rotate on a real API server; ROTATIONS=3 ends it after three
	@$(BUILD)
	@$(CARGO) run --quiet --locked --example demo -- $(if $(ROTATIONS),--rotations $(ROTATIONS))

# Most of a test's time is waiting for a cluster, so more of them run than there are cores.
test: export RUST_TEST_THREADS ?= 8
test: ## Run all tests of the workspace
	$(CARGO) test --locked --workspace

# Optimised, for days are long. The variables SIMULATION_SEED, SIMULATION_DAYS, SIMULATION_CREDENTIALS and
# SIMULATION_FORCE (so many times as much trouble) change the run, SIMULATION_WITHOUT leaves kinds of trouble out,
# SIMULATION_LEASE=default takes the lease's own timings instead of stretched ones, and SIMULATION_LOG=info shows all that happens.
simulation: export PROPTEST_CASES ?= 50000
simulation: ## Run ten days of the operator's life in simulated time, while everything goes wrong
	$(CARGO) test --locked --release --test simulation -- --nocapture

check: ## Check format, lints, docs and generated files
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps
	$(BUILD)
	@$(CARGO) run --quiet --locked --bin idissuer -- crd | diff -u $(CRD) - \
	  || { echo "$(CRD) is not what \`idissuer crd\` prints: run \`make crds\`"; exit 1; }

crds: ## Write crds/ anew from the code
	@$(BUILD)
	$(CARGO) run --quiet --locked --bin idissuer -- crd > $(CRD).new
	mv $(CRD).new $(CRD)

SOAK := soak::no_token_dies_in_a_target_while_there_is_a_working_way_to_get_a_new_one
soak: export MINUTES ?= 10
soak: ## Use 200 tokens all the time, while everything fails at random; MINUTES=30 for so long, SEED=7 as it was then
	@$(CARGO) test --quiet --locked --workspace --test cluster -- --ignored --exact --nocapture $(SOAK)

figures: ## Measure restarts and failovers; CREDENTIALS=1000 of ACCOUNTS=300
	@$(CARGO) test --quiet --locked --workspace --test cluster -- --ignored --exact --nocapture \
	  figures::what_restarts_and_failovers_cost

# What only takes long, not what waits for a repair.
LONG := killing::an_operator_that_is_killed_over_and_over_never_leaves_a_dead_token_and_logs_in_no_more_than_it_must \
	outage::a_minute_without_an_api_server_costs_no_login_and_renewals_go_on_where_they_were
HAMMER := sidecar::hammer::no_reader_sees_a_torn_empty_mixed_or_wrong_mode_file_through_hundreds_of_publications
full: export PROPTEST_CASES ?= 20000
full: check test ## What takes too long for every change: more random cases, a hundred kills, a minute of outage, 5000 publications, the soak
	KILLS=100 $(CARGO) test --locked --workspace --test cluster -- --include-ignored --exact $(LONG)
	PUBLICATIONS=5000 $(CARGO) test --locked --workspace --test issuer -- --exact --nocapture $(HAMMER)
	$(MAKE) soak
	$(MAKE) demo ROTATIONS=10
	PROPTEST_CASES=1000000 SIMULATION_FULL=1 SIMULATION_DAYS=30 SIMULATION_CREDENTIALS=1000 $(MAKE) simulation

tools: ## Build the programs that tests and demo need: etcd, kube-apiserver, kubectl (once, from source)
	$(CARGO) run --locked --package idissuer-testbed -- tools
