#!/usr/bin/env bash
# The flow solver's figures: ours and its peers in one run, pinned to one processor, medians. Writes the table into
# docs/benchmarks.md, between the marks. Costs that differ end it.
# Usage: bench-flow.sh [ROW...]      names as in the table, or their beginnings; all where none is given
# with PEERS=FOLDER that has lemon_mcf (or lemon_mcf.cc, which is built) and ortools_mcf.py, which take FILE and a number
#      of repeats (lemon_mcf the algorithm before it) and print {"cpu_ms": [...], "cost": ...}; without it, ours alone
#      PYTHON=FILE for the interpreter that has OR-tools    CPU=N for the processor    RUNS=N (5)    SEED=N (1)
#      SCALE=N to divide all sizes, LIMIT=SECONDS for a peer (900), DOCUMENT=FILE for another document
#      BERTH=FILE and GENERATE=FILE for programs that are built already
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${RUNS:-5} seed=${SEED:-1} scale=${SCALE:-1} limit=${LIMIT:-900} cpu=${CPU:-$(($(nproc) - 1))}
document=${DOCUMENT:-docs/benchmarks.md} python=${PYTHON:-python3} peers=${PEERS:-} cargo=${CARGO:-cargo}
flags="-O3 -march=native"
wanted=("$@")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

pinned() { taskset -c "$cpu" "$@"; }
median() { jq -s 'sort | .[(length - 1) / 2 | floor]'; }
ms() { awk -v ms="$1" 'BEGIN { if (ms == "") print "-"; else printf ms < 10 ? "%.2f" : ms < 100 ? "%.1f" : "%.0f", ms }'; }
times() { awk -v a="$1" -v b="$2" 'BEGIN { if (a == "" || b == "") print "-"; else if (b == 0) print "∞"; else printf a / b < 10 ? "%.1f" : "%.0f", a / b }'; }
size() { echo $(($1 / scale > 0 ? $1 / scale : 1)); }

build() {
  if [[ -z ${BERTH:-} ]]; then "$cargo" build --release --locked --quiet --package berth; fi
  if [[ -z ${GENERATE:-} ]]; then "$cargo" build --release --locked --quiet --package berth-flow --example generate; fi
  berth=${BERTH:-target/release/berth} generate=${GENERATE:-target/release/examples/generate}
  lemon="" ortools=""
  [[ -n $peers ]] || return 0
  if [[ -f $peers/lemon_mcf.cc ]]; then
    # shellcheck disable=SC2086
    g++ $flags "$peers/lemon_mcf.cc" -o "$work/lemon_mcf"
    lemon=$work/lemon_mcf
  elif [[ -x $peers/lemon_mcf ]]; then
    lemon=$peers/lemon_mcf
  fi
  if [[ -f $peers/ortools_mcf.py ]] && "$python" -c 'import ortools' 2>/dev/null; then ortools=$peers/ortools_mcf.py; fi
}

# NAME COMMAND...: the peer's median into the variable NAME; its cost must be ours.
peer() {
  local name=$1 status=0 found
  shift
  printf -v "$name" ''
  pinned timeout "$limit" "$@" >"$work/peer" 2>"$work/peer.log" || status=$?
  if [[ $status != 0 ]]; then
    echo "bench-flow: $name gave up (status $status): $*" >&2
    return 0
  fi
  found=$(jq .cost "$work/peer")
  [[ $found == "$cost" ]] || { echo "bench-flow: $name finds a cost of $found, ours is $cost: $*" >&2; exit 1; }
  printf -v "$name" '%s' "$(jq '.cpu_ms[]' "$work/peer" | median)"
}

# The most memory of a solve, in bytes.
memory() {
  python3 - "$berth" solve "$1" --json <<'PYTHON' 2>/dev/null || true
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
PYTHON
}

# ROW SHAPE KEY=NUMBER...
measure() {
  local row=$1 begin skip=1 cost
  shift
  for begin in "${wanted[@]:-}"; do [[ $row == "$begin"* ]] && skip=0; done
  [[ $skip == 0 ]] || return 0
  echo "bench-flow: $row" >&2
  "$generate" "$1" "$work/p" "${@:2}" seed="$seed"
  local base=$work/p.base.min changed=$work/p.changed.min nodes arcs simplex="" scaling="" google="" best bytes
  for _ in $(seq "$runs"); do
    pinned "$berth" solve "$changed" --json >>"$work/scratch"
    pinned "$berth" solve "$base" --then "$changed" --json >>"$work/resolve"
  done
  local scratch resolve changes
  cost=$(jq -s '.[0].cost' "$work/scratch")
  jq -es "all(.[]; .certified and .cost == $cost)" "$work/scratch" >/dev/null
  jq -es "all(.[]; .resolve.certified and .resolve.cost == $cost)" "$work/resolve" >/dev/null
  scratch=$(jq .cpu_ms "$work/scratch" | median)
  resolve=$(jq .resolve.cpu_ms "$work/resolve" | median)
  changes=$(jq -s '.[0].resolve.changes' "$work/resolve")
  rm "$work/scratch" "$work/resolve"
  if [[ -n $lemon ]]; then
    peer simplex "$lemon" "$changed" network-simplex "$runs"
    peer scaling "$lemon" "$changed" cost-scaling "$runs"
  fi
  if [[ -n $ortools ]]; then peer google "$python" "$ortools" "$changed" "$runs"; fi
  best=$(printf '%s\n' "$simplex" "$scaling" "$google" | sed '/^$/d' | sort -g | head -1)
  nodes=$(awk '$1 == "p" { print $3; exit }' "$changed")
  arcs=$(awk '$1 == "p" { print $4; exit }' "$changed")
  bytes=$(memory "$changed")
  [[ -z $bytes ]] || bytes=$(((bytes - empty_bytes) / arcs))
  echo "| $row | $nodes | $arcs | $(ms "$scratch") | $(ms "$simplex") | $(ms "$scaling") | $(ms "$google") |" \
    "$(times "$best" "$scratch") | $changes | $(ms "$resolve") | $(times "$best" "$resolve") | ${bytes:--} |" >>"$work/rows"
}

rows() {
  local machines util
  machines=$(size 12500)
  for util in 50 90 99 105; do measure "cluster, $util %" cluster machines="$machines" util=$util; done
  for util in 90 105; do measure "classes of 16, $util %" cluster machines="$machines" util=$util group=16; done
  for machines in 1000 5000 50000; do measure "cluster of $machines, 90 %" cluster machines="$(size $machines)"; done
  machines=$(size 12500)
  measure "all costs equal, 90 %" equal machines="$machines"
  measure "1 % of the tasks, 90 %" cluster machines="$machines" ends=$((machines * 108 / 1000)) arrives=$((machines * 108 / 1000))
  measure "10 % of the tasks, 90 %" cluster machines="$machines" ends=$((machines * 108 / 100)) arrives=$((machines * 108 / 100))
  measure "a rack goes, 90 %" cluster machines="$machines" ends=0 arrives=0 breaks=1
  measure "a job's costs change, 90 %" cluster machines="$machines" ends=0 arrives=0 recosts=1
  measure "a job of 10,000 tasks, 50 %" cluster machines="$machines" util=50 ends=0 arrives="$(size 10000)" largest="$(size 10000)"
  measure "an empty cluster fills" cluster machines="$machines" util=0 ends=0 arrives=$((machines * 12 * 9 / 10))
  measure "from 95 to 105 %" cluster machines="$machines" util=95 ends=0 arrives=$((machines * 12 / 10)) largest=$((machines / 10 + 1))
  measure "from 105 to 95 %" cluster machines="$machines" util=105 ends=$((machines * 12 / 10)) arrives=0
  measure "NETGEN" netgen nodes="$(size 32768)"
  measure "grid" grid width="$(size 512)" height=128
  measure "assignment" assignment size="$(size 50000)"
  measure "hub" hub arcs="$(size 200000)"
}

versions() {
  echo "$(date -u +%F), $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -1), $(nproc) processors, kernel $(uname -r)," \
    "load $(cut -d' ' -f1 /proc/loadavg); commit $(git rev-parse --short HEAD); pinned to processor $cpu; medians of $runs; seed $seed."
  echo "Ours: $(rustc --version), profile \`release\` (opt-level 3, thin LTO, 4 codegen units), no target flags."
  if [[ -n $lemon ]]; then echo "LEMON $(dpkg-query -Wf '${Version}' liblemon-dev 2>/dev/null || echo "of the system"), $(g++ --version | head -1), \`$flags\`."; fi
  if [[ -n $ortools ]]; then echo "OR-tools $("$python" -c 'import ortools; print(ortools.__version__)') from PyPI."; fi
}

table() {
  echo
  versions
  echo
  echo "| instance | nodes | arcs | ours, ms | LEMON simplex | LEMON scaling | OR-tools | best / ours | changes | re-solve, ms | best / re-solve | bytes per arc |"
  echo "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
  cat "$work/rows"
  echo
}

build
[[ ${#wanted[@]} -gt 0 ]] || wanted=("")
: >"$work/rows"
echo "p min 0 0" >"$work/empty.min"
empty_bytes=$(memory "$work/empty.min")
rows
table >"$work/table"
begin='<!-- flow: begin -->' end='<!-- flow: end -->'
grep -qF "$begin" "$document" && grep -qF "$end" "$document" || { echo "bench-flow: $document has no marks $begin and $end" >&2; exit 1; }
awk -v begin="$begin" -v end="$end" -v table="$work/table" '
  $0 == end { inside = 0 }
  !inside { print }
  $0 == begin { inside = 1; while ((getline line < table) > 0) print line }' "$document" >"$work/document"
cat "$work/document" >"$document"
cat "$work/table"
