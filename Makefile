# Everything here is a thin name for a script or a cargo command. Builds always cover the workspace: one resolution of
# features and one profile, so that the demo, the tests and the benchmarks share one build of the dependencies.

.PHONY: help setup bins demo test histories kills reads fmt lint audit bench bench-inference clean-demo

help: ## What there is
	@grep -hE '^[a-z-]+:.*## ' Makefile | awk -F ':.*## ' '{ printf "make %-12s %s\n", $$1, $$2 }'

setup: ## LibTorch and the encoder's weights into a cache, .cargo/config.toml (CONTACTFLOW_CUDA=1: with CUDA; CONTACTFLOW_MULTILINGUAL=1: Chinese too)
	@deploy/setup.sh

demo: ## Builds, then runs the job on a generated month of events in demo-output/
	@deploy/demo.sh

test: ## Every test; the runner's own summary comes last
	@deploy/test.sh

# The tests of kills and reads drive the built program, which a build of one test alone leaves as it was.
bins: setup
	cargo build --workspace --bins --locked

histories: setup ## 20,000 random histories against the oracle (CONTACTFLOW_HISTORIES, CONTACTFLOW_SEED)
	CONTACTFLOW_HISTORIES=$${CONTACTFLOW_HISTORIES:-20000} cargo nextest run --workspace --locked --test histories

kills: bins ## 200 kill -9 over local disk and S3, then 50 rounds among failing requests (CONTACTFLOW_KILLS, CONTACTFLOW_SEED)
	CONTACTFLOW_KILLS=$${CONTACTFLOW_KILLS:-100} cargo nextest run --workspace --locked --no-capture --test kills
	CONTACTFLOW_ROUNDS=50 CONTACTFLOW_KILLS=20 cargo nextest run --workspace --locked --no-capture --test faults

reads: bins ## 10,000 reads each of plain listings (S3, disk) and of Delta logs by outside readers while commits go on (CONTACTFLOW_READS, CONTACTFLOW_SEED)
	CONTACTFLOW_READS=$${CONTACTFLOW_READS:-10000} cargo nextest run --workspace --locked --no-capture --test concurrent_reads

fmt: ## Formats the sources
	cargo fmt --all

lint: setup ## Formatting and clippy, warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

audit: ## Licences, sources and banned crates of the dependencies
	@deploy/audit.py

bench: setup ## Functions (criterion), one late event, a million conversations; BENCH_FLOOR=0 leaves the last out
	@deploy/bench.sh

bench-inference: setup ## The encoder against transformers on PyTorch, which it fetches (3 GB)
	@benches/inference/run.sh

clean-demo: ## Removes demo-output/
	rm -rf demo-output
