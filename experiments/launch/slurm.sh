#!/usr/bin/env bash
# Trains under SLURM, one task a GPU:
#   sbatch --nodes=2 --gpus-per-node=8 --ntasks-per-node=8 experiments/launch/slurm.sh \
#     retouchformer_gamma0.1
# SLURM sends SIGTERM before the time is up: the run writes a checkpoint between two batches and
# ends, and the requeued job goes on from it.
#SBATCH --job-name=visagist
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.log
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?this script is for sbatch; on one machine use make train}"
[ "$#" -ge 1 ] || { echo "usage: sbatch $0 EXPERIMENT [--key=value ...]" >&2; exit 2; }

# RESUME=1 starts a run that has no checkpoint yet, so the first job and every later one are alike.
export RESUME=1
code=0
srun .venv/bin/python -m experiments fit "$@" \
  --trainer.num_nodes="$SLURM_NNODES" --trainer.devices="$SLURM_NTASKS_PER_NODE" || code=$?
# 143: stopped by SIGTERM, with its checkpoint written.
if [ "$code" -eq 143 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
