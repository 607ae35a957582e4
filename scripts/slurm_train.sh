#!/bin/bash
# One training run on several machines under SLURM. Adapt the lines marked "<-", then:
#   sbatch scripts/slurm_train.sh imagenet/resnet34-resnet18 --method normkd --data-root /path/to/imagenet
# Everything after the script's name goes to `normkd train`; for another command: sbatch --export=ALL,NORMKD=compare ...
#
# SLURM starts one torchrun per machine; torchrun starts one process per GPU. The preset's batch size counts the images
# of all processes and must be divisible by their number; learning rate and number of steps stay as published.
#
#SBATCH --job-name=normkd
#SBATCH --nodes=2                   # <- machines
#SBATCH --ntasks-per-node=1         # one torchrun each; not one task per GPU
#SBATCH --gpus-per-node=4           # <- GPUs of a machine
#SBATCH --cpus-per-task=32          # <- about 8 cores a GPU where images are decoded from files
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@120           # two minutes before the end all processes stop after the same step, state saved;
#                                     submit the same line again and the run goes on
#SBATCH --requeue                   # after a machine's failure or preemption SLURM itself does so
#SBATCH --open-mode=append
#SBATCH --output=normkd-%j.log

set -euo pipefail

# The environment with normkd_explore; all machines need it, the data and the teacher's weights at the same paths.
source "${VENV:-.venv}/bin/activate"  # <-

gpus=${SLURM_GPUS_ON_NODE:?start this with sbatch}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))  # two jobs on one machine must not share it

export OMP_NUM_THREADS=1  # the GPU computes; threads of many processes would only take each other's cores

# --resume is right from the start: where there is no checkpoint, the run begins. The first process alone writes
# runs/...; keep that folder on a disk that outlives the job. --max-restarts 0: if one process fails, all end, and the
# log says why.
command=(
    torchrun
    --nnodes "$SLURM_NNODES"
    --nproc-per-node "$gpus"
    --rdzv-backend c10d
    --rdzv-id "$SLURM_JOB_ID"
    --rdzv-endpoint "$head:$port"
    --max-restarts 0
    -m normkd_explore "${NORMKD:-train}" "$@" --resume
)

srun --kill-on-bad-exit=1 "${command[@]}"
