#!/bin/sh
# Searches the default space of the DRAM controller with three agents at equal budget and compares
# them. The commands are shown as they run, so that they can be run again by hand.
set -eu
archgym=${1:-archgym}
folder=runs/demo

run() {
    echo
    echo "\$ $*"
    "$@"
}

# The demo's own folder, from an earlier run.
rm -rf "$folder"
for agent in random genetic bayesian; do
    run "$archgym" search dram --workload bursty-rw --objective balanced \
        --agent "$agent" --budget 200 --seed 1 --out "$folder/$agent"
done
run "$archgym" show "$folder/random" "$folder/genetic" "$folder/bayesian" --plot "$folder/curves.png"
echo "Next, continue a search, or list everything else:"
echo "  $archgym resume $folder/genetic --budget 1000"
echo "  $archgym list"
