#!/bin/bash
# One comparison on several machines under SLURM: an array job, each of whose tasks trains one seed, all methods in
# lockstep. Adapt the lines marked "<-", then:
#   sbatch scripts/slurm_compare.sh cifar100/resnet32x4-resnet8x4 --methods ce,kd,normkd --out runs/ten-seeds
# Everything after the script's name goes to `normkd compare`; --out is needed, so that all seeds lie in one folder.
# When all tasks are done, one table of them all:
#   normkd report runs/ten-seeds
#
# Seeds do not talk to each other, so tasks may run at any time, on any machine, one by one or all at once. On a machine
# of one's own, without SLURM, `normkd compare --seeds 10 --jobs auto` does the same.
#
#SBATCH --job-name=normkd-seeds
#SBATCH --array=0-9                 # <- the seeds
#SBATCH --ntasks=1
#SBATCH --gpus-per-task=1           # <- leave this line out where a task shall train on a CPU
#SBATCH --cpus-per-task=4           # <- cores of a task; their number decides the last bits on a CPU
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120           # two minutes before the end a task stops between two steps, state saved; submit
#                                     the same line again and it goes on: seeds that are finished are left as they are
#SBATCH --requeue                   # after a machine's failure or preemption SLURM itself does so
#SBATCH --open-mode=append
#SBATCH --output=normkd-%A-seed%a.log

set -euo pipefail

# The environment with normkd_explore; all machines need it, the data and the teacher's weights at the same paths.
source "${VENV:-.venv}/bin/activate"  # <-

seed=${SLURM_ARRAY_TASK_ID:?start this with sbatch}
case " $* " in
    *" --out "* | *" --out="*) ;;
    *) echo "slurm_compare: add --out FOLDER, so that all seeds lie in one folder" >&2; exit 2 ;;
esac

# A table of the teacher's logits would be made by every task; named with --teacher-cache, tasks on one disk share it.
srun normkd compare "$@" --seeds 1 --first-seed "$seed" --threads "${SLURM_CPUS_PER_TASK:-1}" --resume
