#!/bin/sh
# Searches a DRAM controller for the memory requests of a k-mer count, a real program that was
# recorded: least mean latency, at no more total time than the default design takes. Three agents
# get the same budget. The commands are shown as they run, so that you can run them by hand.
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
for agent in random genetic auto; do
    run "$archgym" search dram --workload recorded-kmer-count --minimise mean_latency_ns \
        --subject-to "total_time_ns <= 171500" --agent "$agent" --budget 200 --seed 1 \
        --out "$folder/$agent"
done
set -- "$folder/random" "$folder/genetic" "$folder/auto"
run "$archgym" report "$@" -o "$folder/report.html" | sed -n '1,2p;$p'
run "$archgym" show "$@" --plot "$folder/curves.png"
echo
echo "Report with the reasons: $folder/report.html"
echo "Continue a search:       $archgym resume $folder/auto --budget 500"
echo "See all names:           $archgym list"
