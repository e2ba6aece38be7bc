#!/bin/sh
# Runs a sweep on a Ray cluster of two nodes, both on this machine, and has it lose, one after the
# other, a node, its driver and its disk. The results are those of a sweep that nothing happened to,
# on the cluster and on processes of this machine: every journal is compared byte for byte. Needs
# pip install 'archgym[cluster]', and root for a disk that is full soon, which is left out otherwise.
set -eu
archgym=${1:-archgym}
ray=$(dirname "$(command -v "$archgym")")/ray
plan=sweeps/faults.yaml
runs=runs/faults
port=${PORT:-6398}
address=127.0.0.1:$port
export RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0

show() {
    echo
    echo "\$ archgym $*"
    "$archgym" "$@"
}

# Starts a node, after which the cluster has so many processors: NUMBER OPTIONS. Ray gives up on a
# machine that is busy with other things, so it is tried again.
start_node() {
    number=$1
    shift
    for _ in 1 2 3; do
        "$ray" start "$@" --num-cpus=1 --block >/dev/null 2>&1 &
        node=$!
        while kill -0 "$node" 2>/dev/null; do
            if "$ray" status --address="$address" 2>/dev/null | grep -q "/$number.0 CPU"; then
                return
            fi
            sleep 1
        done
    done
    echo "error: A node of Ray must start at port $port; it does not." >&2
    exit 1
}

# Kills a process and all that it has started: the daemons of a node, and what works for them.
kill_node() {
    for child in $(pgrep -P "$1"); do
        kill_node "$child"
    done
    kill -KILL "$1" 2>/dev/null || true
}

records() {
    find "$1" -name journal.jsonl -exec cat {} + 2>/dev/null | wc -l
}

await_records() {
    until [ "$(records "$1")" -ge "$2" ]; do
        kill -0 "$3" 2>/dev/null || { echo "error: The sweep ended too soon." >&2; exit 1; }
        sleep 0.1
    done
}

first= second= disk=
clean_up() {
    for node in $second $first; do kill_node "$node"; done
    if [ -n "$disk" ]; then umount --lazy "$disk"; fi
}
trap clean_up EXIT
trap 'exit 1' INT TERM

rm -rf "$runs"
mkdir -p "$runs/small"
show sweep plan "$plan"
show sweep run "$plan" --out "$runs/processes" --workers 2

start_node 1 --head --port="$port" --include-dashboard=false
first=$node
start_node 2 --address="$address"
second=$node
show sweep run "$plan" --out "$runs/cluster" --address "$address"

echo
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=700k tmpfs "$runs/small"; then
    disk=$runs/small
else
    echo "No disk of 700 kB can be mounted, so none will be full."
fi
folder=$runs/small/faults
echo "\$ archgym sweep run $plan --out $folder --address $address"
"$archgym" sweep run "$plan" --out "$folder" --address "$address" &
driver=$!
await_records "$folder" 300 "$driver"
kill_node "$second"
wait "$second" 2>/dev/null || true
echo "The second node was killed after $(records "$folder") records."
await_records "$folder" 600 "$driver"
kill -KILL "$driver"
wait "$driver" 2>/dev/null || true
echo "The driver was killed after $(records "$folder") records."
show sweep status "$folder"

start_node 2 --address="$address"
second=$node
if [ -n "$disk" ]; then
    if show sweep resume "$folder" --address "$address"; then
        echo "error: The disk must be full; it is not." >&2
        exit 1
    fi
    echo "The disk was full after $(records "$folder") records."
    mount -o remount,size=20m "$disk"
fi
show sweep resume "$folder" --address "$address"

echo
compared=0
for journal in $(cd "$runs/processes" && find . -name journal.jsonl | sort); do
    cmp "$runs/processes/$journal" "$runs/cluster/$journal"
    cmp "$runs/processes/$journal" "$folder/$journal"
    compared=$((compared + 1))
done
echo "$compared journals with $(records "$runs/processes") records are the same, byte for byte:"
echo "on processes of this machine, on the cluster, and on the cluster with all that it lost."
