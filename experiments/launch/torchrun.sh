#!/usr/bin/env bash
# Trains on several machines by torchrun. Start it on every machine, with the same arguments:
#   HEAD=<address of the first machine> NODES=2 GPUS=8 experiments/launch/torchrun.sh \
#     retouchformer_gamma0.1 --run=two_machines
# One machine with two processes on the CPU, to try it: NODES=1 GPUS=2 ... NAME --scale=smoke
# --trainer.accelerator=cpu
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${HEAD:=localhost}" "${PORT:=29500}" "${NODES:=1}" "${GPUS:=8}" "${JOB:=visagist}"
[ "$#" -ge 1 ] || { echo "usage: [HEAD=..] [NODES=..] [GPUS=..] $0 EXPERIMENT [--key=value ...]" >&2; exit 2; }

exec .venv/bin/torchrun --nnodes="$NODES" --nproc_per_node="$GPUS" --rdzv_id="$JOB" \
  --rdzv_backend=c10d --rdzv_endpoint="$HEAD:$PORT" -m experiments fit "$@" \
  --trainer.num_nodes="$NODES" --trainer.devices="$GPUS"
