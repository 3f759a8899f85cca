#!/usr/bin/env bash
# Compares the teachers at one budget: the demo's job once per arm and seed, then the table of docs/results.md.
#   bench/ablation.sh [--batches 40] [--minutes 60] [--seeds "0 1 2"] [--arms "none ground_truth rule oracle"] [--out runs/ablation]
# The budget is a number of rollout batches: what else the machine does cannot favour an arm. --minutes only bounds it.
# An arm that is there already is not run again, so an interrupted comparison goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
batches=40 minutes=60 seeds="0 1 2" arms="none ground_truth rule oracle" out=runs/ablation
while [ $# -gt 0 ]; do
  case "$1" in
    --batches) batches=$2; shift 2 ;;
    --minutes) minutes=$2; shift 2 ;;
    --seeds) seeds=$2; shift 2 ;;
    --arms) arms=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    *) sed -n '2,5p' "$0"; exit 2 ;;
  esac
done
mkdir -p "$out"
for seed in $seeds; do
  for arm in $arms; do
    dir="$out/$arm-$seed"
    [ -f "$dir/results.json" ] && continue
    echo "== $arm, seed $seed" >&2
    ./swerve demo --teacher "$arm" --seed "$seed" --minutes "$minutes" --set learner.steps="$batches" --out "$dir" >"$dir.txt" 2>"$dir.log" || {
      tail -n 5 "$dir.log" >&2; exit 1; }
  done
done
python3 bench/ablation_table.py "$out"
