#!/bin/bash
# Runs a sweep on the nodes of a Slurm job, and goes on with it in the next one:
#
#   sbatch --nodes=4 --time=04:00:00 examples/cluster/slurm.sh plan.yaml /shared/runs/plan
#
# The same command again goes on where the job ended, finished, cancelled or out of time. The folder
# must be one that all nodes see; archgym, with its extra `cluster`, must be on the path there, such
# as by a virtual environment on the shared storage that is active when the job is submitted.
#SBATCH --job-name=archgym
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --signal=B:TERM@120
set -euo pipefail
plan=$1
folder=$2

# Whoever else is on these nodes cannot use the job's cluster.
RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_MODE RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0
# A job of its own on a node that others share.
port=$((20000 + SLURM_JOB_ID % 20000))
head=${SLURMD_NODENAME:-$(hostname -s)}
address=$(hostname --ip-address | cut -d ' ' -f 1):$port
node=(--num-cpus="$SLURM_CPUS_PER_TASK" --object-store-memory=200000000 --block)

srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap \
    ray start --head --node-ip-address="${address%:*}" --port="$port" \
    --include-dashboard=false "${node[@]}" &
until ray status --address="$address" >/dev/null 2>&1; do
    sleep 2
done
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    # A node that fails is only a node less.
    srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) \
        --exclude="$head" --overlap --no-kill --kill-on-bad-exit=0 \
        ray start --address="$address" "${node[@]}" &
fi

# In the background, so that the signal that comes before the end of the job's time reaches us.
if [ -f "$folder/sweep.json" ]; then
    archgym sweep resume "$folder" --address "$address" &
else
    archgym sweep run "$plan" --out "$folder" --address "$address" &
fi
sweep=$!
trap 'kill -TERM "$sweep" 2>/dev/null' TERM
code=0
wait "$sweep" || code=$?
if kill -0 "$sweep" 2>/dev/null; then
    # The signal ended the wait; the sweep is bringing everything to the disk.
    wait "$sweep" || code=$?
fi
exit "$code"
