#!/bin/sh
# Random search on a task of the benchmark in POSIX shell and awk: client.sh TASK BUDGET
# Prints the answers of the server, the last one with the best design.
set -eu
task=$1
budget=$2
shift 2
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
mkfifo "$folder/asks" "$folder/answers"
archgym bench serve "$task" --budget "$budget" "$@" <"$folder/asks" >"$folder/answers" &
exec 3>"$folder/asks" 4<"$folder/answers"
read -r description <&4
sizes=$(printf '%s\n' "$description" | sed 's/.*"sizes": \[\([0-9, ]*\)\].*/\1/')
seed=0
while :; do
    seed=$((seed + 1))
    # The generator is written out, so that every awk draws the same designs.
    printf '%s\n' "$sizes" | awk -v seed="$seed" -F ', ' '{
        x = seed
        for (i = 1; i <= NF; i++) {
            x = (x * 16807 + 11) % 2147483647
            text = text (i > 1 ? ", " : "") x % $i
        }
        print "{\"indices\": [" text "]}"
    }' >&3
    read -r answer <&4 || break
    printf '%s\n' "$answer"
    case $answer in *'"end": '*) break ;; esac
done
exec 3>&-
wait
