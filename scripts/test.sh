#!/usr/bin/env bash
# Runs the tests; with --long, with fresh random cases, and thousands of further seeds of the simulator.
#
# Containers, namespaces and labs need root. When this is not root, only the test programs are run with sudo, never
# the compiler, so that no file in target/ belongs to root.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null || { echo "error: the tests need root or sudo" >&2; exit 1; }
  sudo -v
  triple=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
  export "CARGO_TARGET_${triple}_RUNNER=sudo -E"
fi

# The same cases in every run of `make test`; --long takes fresh ones.
[[ ${1:-} == --long ]] || export PROPTEST_RNG_SEED=20261121

# Builds the real program too, which test programs start. A build of its own before would make most crates twice: the
# tests want more of some crates (`testkit`) than the program.
cargo test --workspace --locked
if [[ ${1:-} == --long ]]; then
  # The flow solver and its reader against fresh cases, about a hundred times those of `make test`.
  PROPTEST_CASES=${PROPTEST_CASES:-25000} cargo test --package berth-flow --locked
  # The optimiser against an integer program on two hundred small problems; `make test` has half of them.
  BERTH_ORACLE_ALL=1 cargo test --package berth-placement --locked --test optimise milp
  # `make test` has the first 500.
  target/debug/berth sim run --seed 500 --seeds 5000
fi
