#!/usr/bin/env bash
# The decision core's figures with large healthy clusters, in processor time. Writes the table into docs/benchmarks.md, between
# the marks. Usage: bench-core.sh [MACHINES:UTILISATION:ROUNDS:CHURN...]
# with SEED=1                             DOCUMENT=FILE for another document    BERTH=FILE for a program that is built
set -euo pipefail
cd "$(dirname "$0")/.."

clusters=("$@")
[[ ${#clusters[@]} -gt 0 ]] || clusters=(1000:90:20:50 5000:90:20:100 5000:99:20:100 12500:90:20:100 12500:99:20:100 50000:90:5:100)
document=${DOCUMENT:-docs/benchmarks.md}
if [[ -z ${BERTH:-} ]]; then cargo build --release --locked --quiet --package berth; fi
berth=${BERTH:-target/release/berth}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

row() {
  local machines utilisation rounds churn
  IFS=: read -r machines utilisation rounds churn <<<"$1"
  "$berth" sim cluster --machines "$machines" --utilisation "$utilisation" --rounds "$rounds" --churn "$churn" \
    --seed "${SEED:-1}" --json |
    jq -r --arg full "$utilisation" --arg churn "$churn" '
      def tenths: . * 10 | round / 10 | tostring;
      def hundredths: . * 100 | round / 100 | tostring;
      def pair: "\(.p50 | tenths), \(.p99 | tenths)";
      "| " + ([.machines, .tasks, $full, $churn, .waiting | tostring]
        + ["\(.fast_path_ms.p50 | hundredths), \(.fast_path_ms.p99 | hundredths)", (.round_ms | pair), (.optimiser_ms | pair)]
        + ["\(.certified_rounds) of \(.rounds)", (.regret_pct | tenths), (.moves | tostring)]
        + [.placements_per_second, .rss_mb | tostring] | join(" | ")) + " |"'
}

{
  printf '\n%s, %s, %s processors; load %s; commit %s; seed %s.\n\n' "$(date +%F)" \
    "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)" "$(nproc)" "$(cut -d' ' -f1 /proc/loadavg)" \
    "$(git rev-parse --short HEAD)" "${SEED:-1}"
  printf '| machines | tasks | cpu, %% | churn | wait | a request, ms (p50, p99) | a round, ms | its optimiser, ms | certified | regret, %% | moves | placements/s | MB |\n'
  printf '|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n'
  for cluster in "${clusters[@]}"; do row "$cluster"; done
  echo
} >"$work/table"

awk -v table="$work/table" '
  /<!-- core: begin -->/ { print; while ((getline line < table) > 0) print line; inside = 1; next }
  /<!-- core: end -->/ { inside = 0 }
  !inside' "$document" >"$work/document"
cp "$work/document" "$document"
