#!/bin/sh
# Trains a team of agents on a Ray cluster of two nodes, both on this machine, and kills one of them
# in the middle: the study reaches its budget all the same. Needs pip install 'archgym[marl]'.
# The commands are shown as they run; on real machines the second is given on another one, with the
# first one's address.
set -eu
archgym=${1:-archgym}
ray=$(dirname "$(command -v "$archgym")")/ray
folder=runs/multi-agent
port=${PORT:-6399}
export RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0

show() {
    echo
    echo "\$ $*"
}

# Kills a process and all that it has started: the daemons of a node, and what works for them.
kill_node() {
    for child in $(pgrep -P "$1"); do
        kill_node "$child"
    done
    kill -KILL "$1" 2>/dev/null || true
}

first= second=
trap 'for node in $second $first; do kill_node "$node"; done' EXIT

# A study from an earlier run.
rm -rf "$folder"

show ray start --head --port="$port" --num-cpus=1 --include-dashboard=false --block
"$ray" start --head --port="$port" --num-cpus=1 --include-dashboard=false --block >/dev/null 2>&1 &
first=$!
show ray start --address=127.0.0.1:"$port" --num-cpus=1 --block
until "$ray" status --address=127.0.0.1:"$port" >/dev/null 2>&1; do
    kill -0 "$first" || { echo "error: Ray must start at port $port; it does not." >&2; exit 1; }
    sleep 1
done
"$ray" start --address=127.0.0.1:"$port" --num-cpus=1 --block >/dev/null 2>&1 &
second=$!
until "$ray" status --address=127.0.0.1:"$port" 2>/dev/null | grep -q "/2.0 CPU"; do
    kill -0 "$second" || { echo "error: A second node must start; it does not." >&2; exit 1; }
    sleep 1
done

show RAY_ADDRESS=127.0.0.1:"$port" archgym search dram --agent multi_agent_ppo \
    --hyper env_runners=2 --hyper critic=central --budget 1000 --out "$folder"
RAY_ADDRESS=127.0.0.1:"$port" "$archgym" search dram --agent multi_agent_ppo \
    --hyper env_runners=2 --hyper critic=central --budget 1000 --out "$folder" &
search=$!
until [ "$(grep -c . "$folder/journal.jsonl" 2>/dev/null || true)" -ge 300 ] 2>/dev/null; do
    kill -0 "$search" || exit 1
    sleep 0.1
done
kill_node "$second"
echo "The second node was killed after $(grep -c . "$folder/journal.jsonl") records."
wait "$search"
echo "The journal has $(grep -c . "$folder/journal.jsonl") records."
show archgym show "$folder"
"$archgym" show "$folder"
