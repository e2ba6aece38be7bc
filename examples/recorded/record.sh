#!/bin/sh
# Compiles the six programs, records a window of each, and filters it to requests to DRAM:
#
#     examples/recorded/record.sh [FOLDER]
#
# It makes FOLDER/NAME.npz and FOLDER/recorded-NAME.stl.gz, as they ship. It takes some five minutes,
# and needs a C compiler and valgrind. README.md says what changes from machine to machine.
set -eu
sources=$(CDPATH='' cd "$(dirname "$0")" && pwd)
folder=${1:-recorded-traces}
mkdir -p "$folder"
folder=$(CDPATH='' cd "$folder" && pwd)
archgym=$(command -v archgym)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cd "$build"

# Name, data accesses before the window (the tables are filled), data accesses in it.
while read -r name skip accesses; do
    "${CC:-cc}" -O2 -o "$name" "$sources/$name.c"
    # A short environment, since it lies on the program's stack and the loader reads it.
    env -i PATH="$PATH" HOME="$HOME" PYTHONPATH="${PYTHONPATH:-}" "$archgym" trace record \
        --skip "$skip" --max-accesses "$accesses" --name "$name" -o "$folder/$name.npz" \
        -- "./$name"
    # A small last level, and what comes after it has filled: so that there are write-backs.
    "$archgym" trace filter "$folder/$name.npz" --l1 32K:8 --llc 512K:8 --ipc 0.5 \
        --clock-mhz 2000 --seed 1 --skip 20000 --max-requests 10000 \
        -o "$folder/recorded-$name.stl.gz"
done <<'END'
graph-search 4500000 200000
hash-join 3600000 200000
kmer-count 600000 220000
moe-gather 100000 400000
random-access 60000 200000
sort 3500000 250000
END
