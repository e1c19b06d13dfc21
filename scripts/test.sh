#!/usr/bin/env bash
# Runs the tests; with --long, those that are marked as ignored because they take minutes, instead.
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

# Test programs start the real one.
cargo build --workspace --locked
if [[ ${1:-} == --long ]]; then
  # The lab's tests have a main of their own, and no long ones.
  cargo test --workspace --locked --lib --bins --tests -- --ignored
else
  cargo test --workspace --locked
fi
