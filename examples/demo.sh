#!/bin/sh
# Searches how to serve Mixtral 8x7B, 93 GB of weights, from a graphics card with 24 GB: least time
# per token, with the model's answers intact. Three agents get the same budget; seed 3 is a typical
# one of ten. The commands are shown as they run, so that you can run them by hand.
set -eu
archgym=${1:-archgym}
folder=runs/demo
# The agents' models are small, and faster on one thread.
export OMP_NUM_THREADS=1

run() {
    echo
    echo "\$ $*"
    "$@"
}

# The demo's own folder, from an earlier run.
rm -rf "$folder"
for agent in random genetic auto; do
    run "$archgym" search moe --space edge-offload --option model=mixtral-8x7b \
        --option hardware=rtx-4090 --minimise tpot_mean_ms --subject-to "degraded_percent <= 0" \
        --agent "$agent" --budget 100 --seed 3 --out "$folder/$agent"
done
set -- "$folder/random" "$folder/genetic" "$folder/auto"
run "$archgym" report "$@" -o "$folder/report.html" | sed -n '1,2p'
run "$archgym" show "$@" --plot "$folder/curves.png"
echo
echo "Report with the reasons: $folder/report.html"
echo "Continue a search:       $archgym resume $folder/auto --budget 300"
echo "See all names:           $archgym list"
