#!/usr/bin/env bash
# Runs the tests of berth-runtime where users run it: under systemd and cgroup v2. Boots Debian's cloud
# kernel in qemu, in software emulation, so that it needs neither KVM nor this machine's own cgroups.
#
#   scripts/test-v2.sh [NAME ...]    only tests whose names contain one of the words
#
# The machine's disk is made once and cached in target/test-v2; the tests go in on a second one, and
# what they write to either is forgotten. V2_SECONDS bounds the whole run of the machine (default 1200).
set -euo pipefail
cd "$(dirname "$0")/.."

# Raise when the recipe below changes.
recipe=2
seconds=${V2_SECONDS:-1200}
cache=$PWD/target/test-v2
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo

say() { printf 'test-v2: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

[ "$(uname -m)" = x86_64 ] || die "works on x86_64 only: the machine it boots is one, and so must the test binaries be"
. /etc/os-release
suite=${VERSION_CODENAME:-bookworm}
case "${ID:-}" in
ubuntu) kernel=linux-image-virtual ;;
*) kernel=linux-image-cloud-amd64 ;;
esac
# What the tests use, besides systemd and a kernel.
packages=systemd-sysv,udev,kmod,$kernel,initramfs-tools,runc,libseccomp2,busybox-static,ca-certificates,skopeo,umoci,docker-registry,procps,iproute2

PATH=$PATH:/usr/sbin:/sbin
missing=()
need() { # PROGRAM PACKAGE WHY
  command -v "$1" >/dev/null || {
    say "installing $2: $3"
    missing+=("$2")
  }
}
need qemu-system-x86_64 qemu-system-x86 "to boot the machine"
need mmdebstrap mmdebstrap "to make the machine's files"
need mke2fs e2fsprogs "to make the machine's disk"
need python3 python3 "to read cargo's messages"
if [ ${#missing[@]} -gt 0 ]; then
  $sudo apt-get update -qq
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/run.XXXXXX")
machine=
tidy_up() {
  [ -z "$machine" ] || kill "$machine" 2>/dev/null || true
  $sudo rm -rf "$work"
}
trap tidy_up EXIT
trap 'exit 130' INT TERM

# What runs in the machine, as its one service. The second serial line is the test's output.
write_service() { # ROOT
  cat <<'UNIT' | $sudo tee "$1/etc/systemd/system/berth-tests.service" >/dev/null
[Unit]
Description=Tests of berth-runtime
RequiresMountsFor=/tests
FailureAction=poweroff
SuccessAction=poweroff

[Service]
Type=oneshot
Delegate=yes
TasksMax=infinity
ExecStart=/bin/sh /tests/run.sh
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS1

[Install]
WantedBy=multi-user.target
UNIT
  printf '/dev/vda / ext4 defaults 0 1\n/dev/vdb /tests ext4 ro 0 0\n' | $sudo tee "$1/etc/fstab" >/dev/null
  echo berth-v2 | $sudo tee "$1/etc/hostname" >/dev/null
  $sudo mkdir -p "$1/tests" "$1/etc/systemd/system/multi-user.target.wants"
  $sudo ln -sf ../berth-tests.service "$1/etc/systemd/system/multi-user.target.wants/"
  # Nobody logs in, and nothing is to start in the middle of a test.
  for unit in serial-getty@.service getty@.service apt-daily.timer apt-daily-upgrade.timer docker-registry.service; do
    $sudo ln -sf /dev/null "$1/etc/systemd/system/$unit"
  done
}

# The machine's disk, its kernel and its initrd.
base=$cache/$suite-$recipe
if [ ! -e "$base/done" ]; then
  say "making the machine ($suite, systemd, $kernel): once, takes a minute or two"
  $sudo rm -rf "$base"
  mkdir -p "$base"
  chmod 755 "$work"
  $sudo mmdebstrap --quiet --variant=apt --include="$packages" --aptopt='Apt::Install-Recommends "false"' \
    "$suite" "$work/root" >"$base/log" 2>&1 || { tail -n 20 "$base/log" >&2; die "mmdebstrap failed"; }
  write_service "$work/root"
  $sudo sh -c "cp '$work/root/boot/'vmlinuz-* '$base/vmlinuz' && cp '$work/root/boot/'initrd.img-* '$base/initrd'"
  $sudo rm -rf "$work/root/boot" "$work/root/var/cache/apt" "$work/root/var/lib/apt/lists" "$work/root/usr/share/doc"
  $sudo mke2fs -q -t ext4 -d "$work/root" "$base/disk" 4G >/dev/null
  $sudo chown "$(id -u)" "$base"/*
  $sudo rm -rf "$work/root"
  touch "$base/done"
fi

# The tests, built here: the machine has no compiler, and would be slow with one.
say "building the tests"
mkdir -p "$work/tests/bin"
cargo test -p berth-runtime --no-run --message-format=json >"$work/messages" || die "the tests do not build"
python3 - "$work" <<'PYTHON'
import json, shutil, sys
work = sys.argv[1]
with open(f"{work}/tests/list", "w") as listed, open(f"{work}/tests/places", "w") as places:
    for line in open(f"{work}/messages"):
        message = json.loads(line)
        path = message.get("executable")
        if not path or "berth-runtime" not in message["package_id"]:
            continue
        name = path.rsplit("/", 1)[1]
        shutil.copy(path, f"{work}/tests/bin/{name}")
        if message["profile"]["test"]:
            print(f'{message["target"]["name"]} {name}', file=listed)
        else:
            # Tests know the programs beside them by their path.
            print(f"{path} {name}", file=places)
PYTHON
printf '%s\n' "$*" >"$work/tests/filter"
cat >"$work/tests/run.sh" <<'RUN'
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root RUST_BACKTRACE=0 BERTH_TEST_V2=1
echo "machine: $(uname -sr), $(systemctl --version | head -n 1), $(stat -fc %T /sys/fs/cgroup)"
[ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || { echo "no cgroup v2"; echo "result 1"; exit 1; }
while read -r path name; do
  mkdir -p "${path%/*}"
  ln -s "/tests/bin/$name" "$path"
done </tests/places
failed=0
while read -r target name; do
  echo "== $target"
  cd /tmp
  # shellcheck disable=SC2046 -- each word is a filter of its own
  "/tests/bin/$name" --color=never --test-threads=2 $(cat /tests/filter) </dev/null 2>&1 || failed=1
done </tests/list
echo "result $failed"
RUN
$sudo mke2fs -q -t ext4 -d "$work/tests" "$work/tests.disk" "$(($(du -sm "$work/tests" | cut -f1) * 5 / 4 + 16))M" >/dev/null
$sudo chown "$(id -u)" "$work/tests.disk"

say "booting, for at most $seconds s; the machine's own words are in $cache/console"
: >"$cache/output"
TMPDIR=$work timeout --kill-after=10 "$seconds" qemu-system-x86_64 \
  -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m 3072 -nodefaults -no-reboot -display none -nic none \
  -kernel "$base/vmlinuz" -initrd "$base/initrd" -snapshot \
  -append "root=/dev/vda rw console=ttyS0 quiet panic=-1 systemd.unified_cgroup_hierarchy=1 systemd.show_status=0" \
  -drive "file=$base/disk,format=raw,if=virtio" -drive "file=$work/tests.disk,format=raw,if=virtio" \
  -object rng-random,filename=/dev/urandom,id=rng0 -device virtio-rng-pci,rng=rng0 \
  -serial "file:$cache/console" -serial "file:$cache/output" </dev/null &
machine=$!
# Both in the background: only `wait` lets go when somebody interrupts.
tail -n +1 -f --pid="$machine" "$cache/output" &
shown=$!
status=0
wait "$machine" || status=$?
machine=
wait "$shown" || true
sed -i 's/\r$//' "$cache/output"

if grep -qx 'result 0' "$cache/output"; then
  say "passed"
elif grep -qx 'result 1' "$cache/output"; then
  die "failed"
else
  tail -n 20 "$cache/console" >&2
  die "the machine did not come to an end (status $status)"
fi
