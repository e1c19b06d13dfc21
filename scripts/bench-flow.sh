#!/usr/bin/env bash
# The flow solver's figures: ours and its peers in one run, pinned to one processor. Writes each part's table into
# docs/benchmarks.md, between the part's marks. Costs that differ, or an answer without its proof, end it.
#
# Usage: bench-flow.sh [PART...]     all parts where none is given
#   peers       from scratch and by repair against the peers, and memory; some 25 minutes
#   slowest     the same for the worst cases that are known; 5 minutes
#   growth      clusters of 1,000 to 50,000 machines; 3 minutes
#   deltas      larger changes, there and back; 7 minutes
#   drift       a thousand rounds; 6 minutes
# with PEERS=FOLDER that has lemon_mcf (or lemon_mcf.cc, which is built) and ortools_mcf.py, which take FILE and a number
#      of repeats (lemon_mcf the algorithm before it) and print {"cpu_ms": [...], "cost": ...}; without it, ours alone
#      PYTHON=FILE for the interpreter that has OR-tools    CPU=N for the processor    RUNS=N (5)    SEEDS="1 2 3"
#      ONLY=BEGINNING for the rows that begin so, printed and not written    SCALE=N to divide all sizes
#      LIMIT=SECONDS for a peer (900)    DOCUMENT=FILE for another document
#      BERTH=FILE, GENERATE=FILE and CHURN=FILE for programs that are built already
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."

parts=(peers slowest growth deltas drift)
runs=${RUNS:-5} seeds=${SEEDS:-1 2 3} scale=${SCALE:-1} limit=${LIMIT:-900} cpu=${CPU:-$(($(nproc) - 1))} only=${ONLY:-}
document=${DOCUMENT:-docs/benchmarks.md} python=${PYTHON:-python3} peers=${PEERS:-} cargo=${CARGO:-cargo}
flags="-O3 -march=native"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { echo "bench-flow: $*" >&2; }
pinned() { taskset -c "$cpu" "$@"; }
median() { jq -s 'sort | .[(length - 1) / 2 | floor]'; }
size() { echo $(($1 / scale > 0 ? $1 / scale : 1)); }
machines=$(size 12500)

build() {
  [[ -n ${BERTH:-} ]] || "$cargo" build --release --locked --quiet --package berth
  [[ -n ${GENERATE:-} && -n ${CHURN:-} ]] || "$cargo" build --release --locked --quiet --package berth-flow --examples
  berth=${BERTH:-target/release/berth}
  generate=${GENERATE:-target/release/examples/generate} churn=${CHURN:-target/release/examples/churn}
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

# SHAPE KEY=NUMBER...: the files $base and $changed.
instances() {
  "$generate" "$1" "$work/p" "${@:2}"
  base=$work/p.base.min changed=$work/p.changed.min
}

# FILE [THEN]: a solve, or the repair after it, as JSON. Without a proof, or with another cost than $cost, it ends all.
ours() {
  local solve=.
  [[ $# -eq 1 ]] || solve=.resolve
  pinned "$berth" solve "$1" ${2:+--then "$2"} --json | jq "$solve" >"$work/solve"
  cost=${cost:-$(jq .cost "$work/solve")}
  jq -e ".certified and .cost == $cost" "$work/solve" >/dev/null || { say "no proof of $cost: $*"; exit 1; }
  cat "$work/solve"
}

# REPEATS COMMAND...: the median of a peer, null where it gives up; its cost must be ours.
peer() {
  local repeats=$1 status=0
  pinned timeout "$limit" "${@:2}" "$repeats" >"$work/peer" 2>"$work/peer.log" || status=$?
  if [[ $status != 0 ]]; then
    say "a peer gave up (status $status): ${*:2}"
    echo null
    return 0
  fi
  [[ $(jq .cost "$work/peer") == "$cost" ]] || { say "a peer does not find our cost of $cost: ${*:2}"; exit 1; }
  jq '.cpu_ms[]' "$work/peer" | median
}

# FILE: what each peer takes, as JSON, null for the ones that are not there. Only those that are not far behind the fastest
# are run often enough for a median: the others cannot be the best.
all_peers() {
  local name best=null
  declare -A command=() took=()
  if [[ -n $lemon ]]; then command=([simplex]="$lemon $1 network-simplex" [scaling]="$lemon $1 cost-scaling"); fi
  if [[ -n $ortools ]]; then command[google]="$python $ortools $1"; fi
  for name in "${!command[@]}"; do
    # shellcheck disable=SC2086
    took[$name]=$(peer 1 ${command[$name]})
    best=$(jq -n "[$best, ${took[$name]}] | map(values) | min")
  done
  for name in "${!command[@]}"; do
    if jq -en "${took[$name]} != null and ${took[$name]} < 1.5 * $best" >/dev/null; then
      # shellcheck disable=SC2086
      took[$name]=$(peer "$runs" ${command[$name]})
    fi
  done
  jq -n "{simplex: ${took[simplex]:-null}, scaling: ${took[scaling]:-null}, google: ${took[google]:-null}}
    | .best = ([.[] | values] | min)"
}

# The most memory of a solve, in bytes. GNU time is small: what it holds when it becomes the solver is less than that starts with.
memory() {
  env time -f %M -o "$work/kilobytes" "$berth" solve "$1" --json >/dev/null
  echo $(($(cat "$work/kilobytes") * 1024))
}

wanted() { [[ $1 == "$only"* ]]; }

# PART ROW JSON...: keeps what was measured, all objects as one.
keep() {
  local sizes
  sizes=$(awk '$1 == "p" { print "{\"nodes\":" $3 ",\"arcs\":" $4 "}"; exit }' "$changed")
  printf '%s\n' "$sizes" "${@:3}" | jq -cs --arg row "$2" 'add + {row: $row}' >>"$work/$1"
}

# PART ROW: one solve from scratch and one repair.
once() {
  local cost="" both
  ours "$changed" >"$work/scratch"
  ours "$base" "$changed" >"$work/resolve"
  both=$(jq -cs '{ours: .[0].cpu_ms, resolve: .[1].cpu_ms, changes: .[1].changes}' "$work/scratch" "$work/resolve")
  keep "$1" "$2" "$both"
}

# PART ROW SHAPE KEY=NUMBER...: both ways against all peers, for each seed.
against_peers() {
  local part=$1 row=$2 seed cost scratch resolve changes bytes found
  wanted "$row" || return 0
  for seed in $seeds; do
    say "$part: $row, seed $seed"
    instances "${@:3}" seed="$seed"
    cost=""
    for _ in $(seq "$runs"); do
      ours "$changed" >>"$work/scratches"
      ours "$base" "$changed" >>"$work/resolves"
    done
    scratch=$(jq .cpu_ms "$work/scratches" | median) resolve=$(jq .cpu_ms "$work/resolves" | median)
    changes=$(jq -s '.[0].changes' "$work/resolves")
    rm "$work/scratches" "$work/resolves"
    bytes=$(($(memory "$changed") - empty_bytes))
    found=$(all_peers "$changed")
    keep "$part" "$row" "{\"ours\":$scratch,\"resolve\":$resolve,\"changes\":$changes,\"bytes\":$bytes}" "$found"
  done
}

peers() {
  local util
  for util in 50 90 99 105; do against_peers peers "cluster, $util %" cluster machines="$machines" util=$util; done
  for util in 90 105; do against_peers peers "classes of 16, $util %" cluster machines="$machines" util=$util group=16; done
  against_peers peers "NETGEN" netgen nodes="$(size 32768)"
  against_peers peers "grid" grid width="$(size 512)" height=128
  against_peers peers "assignment" assignment size="$(size 50000)"
  against_peers peers "all costs equal, 90 %" equal machines="$machines"
  against_peers peers "hub" hub arcs="$(size 200000)"
}

slowest() {
  against_peers slowest "NETGEN, costs up to 1,000,000" netgen nodes="$(size 32768)" cost=1000000
  against_peers slowest "grid, narrow and high" grid width=16 height="$(size 4096)"
  against_peers slowest "hub that nobody can do without" hub arcs="$(size 200000)" util=100
  against_peers slowest "no preferences, 105 %" cluster machines="$machines" util=105 preferences=0
  against_peers slowest "classes of 100, 105 %" cluster machines="$machines" util=105 group=100
}

growth() {
  local count cost seed
  for count in 1000 5000 12500 50000; do
    wanted "$count" || continue
    for seed in $seeds; do
      say "growth: $count machines, seed $seed"
      instances cluster machines="$(size $count)" seed="$seed"
      cost=""
      ours "$changed" >"$work/scratch"
      for _ in $(seq "$runs"); do ours "$base" "$changed"; done | jq .cpu_ms | median >"$work/resolve"
      keep growth "$count" "{\"ours\":$(jq .cpu_ms "$work/scratch"),\"resolve\":$(cat "$work/resolve")}"
    done
  done
}

# ROW ROW-BACK SHAPE KEY=NUMBER...: a change and its opposite, once for each of as many seeds as there are runs elsewhere.
there_and_back() {
  local seed there=$1 back=$2 other
  wanted "$there" || return 0
  for seed in $(seq "$runs"); do
    say "deltas: $there, seed $seed"
    instances "${@:3}" seed="$seed"
    once deltas "$there"
    other=$changed changed=$base base=$other
    once deltas "$back"
  done
}

deltas() {
  local task=$((machines * 12)) few
  few=$((task * 9 / 1000))
  there_and_back "1 % of the tasks, 90 %" "and back" cluster machines="$machines" ends=$few arrives=$few
  there_and_back "10 % of the tasks, 90 %" "10 %, and back" cluster machines="$machines" ends=$((10 * few)) arrives=$((10 * few))
  there_and_back "a rack goes, 90 %" "the rack comes back" cluster machines="$machines" ends=0 arrives=0 breaks=1
  there_and_back "all costs of a job change, 90 %" "they change back" cluster machines="$machines" ends=0 arrives=0 recosts=1
  there_and_back "a job of 10,000 tasks comes, 50 %" "the job goes" cluster machines="$machines" util=50 ends=0 \
    arrives="$(size 10000)" largest="$(size 10000)"
  there_and_back "an empty cluster fills to 90 %" "all tasks end" cluster machines="$machines" util=0 ends=0 arrives=$((100 * few)) \
    largest=$((10 * few))
  there_and_back "from 95 to 105 %" "from 105 to 95 %" cluster machines="$machines" util=95 ends=0 arrives=$((task / 10)) \
    largest=$((task / 100))
}

drift() {
  local util lived changed=$work/empty.min
  for util in 50 90 105; do
    wanted "$util" || continue
    say "drift: $util %"
    lived=$(pinned "$churn" "$machines" "$util" "$(size 1000)")
    keep drift "$util %" "$lived"
  done
}

columns_peers() {
  echo "| instance | nodes | arcs | ours, ms | LEMON simplex | LEMON scaling | OR-tools | best / ours (least) | changes | re-solve, ms | best / re-solve (least) | bytes per arc |"
  echo "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
  rows '[.row, of(.nodes), of(.arcs), ms(.ours), ms(.simplex), ms(.scaling), ms(.google), least(.best; .ours), of(.changes),
    ms(.resolve), least(.best; .resolve), of(.bytes / .arcs | floor)]'
}
columns_slowest() { columns_peers; }
columns_growth() {
  echo "| machines, 90 % | arcs | from scratch, ms | re-solve, ms | re-solve, µs per 1,000 arcs |"
  echo "|--:|--:|--:|--:|--:|"
  rows '[.row, of(.arcs), ms(.ours), ms(.resolve), of(.resolve * 1000000 / .arcs | floor)]'
}
columns_deltas() {
  echo "| change | changes | re-solve, ms | from scratch, ms | re-solve / from scratch (most) |"
  echo "|---|--:|--:|--:|--:|"
  rows '[.row, of(.changes), ms(.resolve), ms(.ours), most(.resolve; .ours)]'
}
columns_drift() {
  echo "| slots taken | arcs | first hundred rounds, ms each | last hundred | steps each | last hundred |"
  echo "|--:|--:|--:|--:|--:|--:|"
  rows '[.row, of(.arcs), ms(.first_us / 1000), ms(.last_us / 1000), of(.first_steps), of(.last_steps)]'
}

# JQ: the cells of a row, from what was kept of $part: medians over the seeds, and the least or most of them.
rows() {
  jq -rs '
    def median: map(values) | sort | .[(length - 1) / 2 | floor];
    def of(f): map(f) | median | tostring;
    def short: if . == null then "-" elif . < 10 then . * 100 | round / 100 elif . < 100 then . * 10 | round / 10 else round end | tostring;
    def ms(f): map(f) | median | short;
    def ratios(a; b): map(select(a != null) | a / ([b, 0.001] | max));
    def least(a; b): ratios(a; b) | if . == [] then "-" else "\(median | short) (\(min | short))" end;
    def most(a; b): ratios(a; b) | "\(median | short) (\(max | short))";
    # By row, in the order in which rows were measured first.
    . as $all | (reduce .[].row as $row ([]; if index($row) then . else . + [$row] end))[]
    | . as $row | $all | map(select(.row == $row)) | '"${1//.row/.[0].row}"' | "| " + join(" | ") + " |"' "$work/$part"
}

versions() {
  local how="medians of $runs; seeds $seeds"
  case $part in
    deltas) how="one run for each of the seeds 1 to $runs" ;;
    drift) how="one run" ;;
  esac
  echo "$(date -u +%F), $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -1), $(nproc) processors, kernel $(uname -r)," \
    "load $(cut -d' ' -f1 /proc/loadavg); commit $(git rev-parse --short HEAD); pinned to processor $cpu; $how."
  echo "Ours: $(rustc --version), profile \`release\` (opt-level 3, thin LTO, 4 codegen units), no target flags."
  case $part in peers | slowest) ;; *) return 0 ;; esac
  if [[ -n $lemon ]]; then echo "LEMON $(dpkg-query -Wf '${Version}' liblemon-dev 2>/dev/null || echo "of the system"), $(g++ --version | head -1), \`$flags\`."; fi
  if [[ -n $ortools ]]; then echo "OR-tools $("$python" -c 'import ortools; print(ortools.__version__)') from PyPI."; fi
}

# FILE: puts it between the marks of $part.
write() {
  local begin="<!-- flow $part: begin -->" end="<!-- flow $part: end -->"
  grep -qF "$begin" "$document" && grep -qF "$end" "$document" || { say "$document has no marks $begin and $end"; exit 1; }
  awk -v begin="$begin" -v end="$end" -v table="$1" '
    $0 == end { inside = 0 }
    !inside { print }
    $0 == begin { inside = 1; while ((getline line < table) > 0) print line }' "$document" >"$work/document"
  cat "$work/document" >"$document"
}

[[ $# -gt 0 ]] || set -- "${parts[@]}"
for part in "$@"; do
  [[ " ${parts[*]} " == *" $part "* ]] || { say "there is no part $part; there are ${parts[*]}"; exit 2; }
done
build
echo "p min 0 0" >"$work/empty.min"
empty_bytes=$(memory "$work/empty.min")
for part in "$@"; do
  rm -f "$work/$part"
  "$part"
  [[ -s $work/$part ]] || continue
  { echo; versions; echo; "columns_$part"; echo; } >"$work/table"
  [[ -n $only ]] || write "$work/table"
  cat "$work/table"
done
