#!/usr/bin/env bash
# Makes models/tiny from nothing: texts, tokenizer and random start, stage one on questions, stage two on answers.
#   tools/make_shipped_policy.sh OUT [THREADS]
# About an hour on two cores. The same machine and THREADS give the same bytes; what is there already is not made again, so
# an interrupted making goes on where it was. Python's packages (transformers, tokenizers, torch) go to build/make_policy.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:?usage: tools/make_shipped_policy.sh OUT [THREADS]}
threads=${2:-2}
work=build/make_policy
mkdir -p "$work"
say() { printf 'make_shipped_policy: %s\n' "$*" >&2; }

./swerve setup
if [ ! -x "$work/venv/bin/python" ] || ! "$work/venv/bin/python" -c 'import torch, transformers, tokenizers' 2>/dev/null; then
  say "installing transformers, tokenizers and torch into $work/venv"
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install -q transformers==5.23.0 tokenizers==0.23.3 torch==2.15.0 numpy==2.4.6
fi
if [ ! -d "$work/start" ]; then
  say "texts, tokenizer, random start"
  rm -rf "$work/text_scenes"
  ./swerve scenes generate --mix uniform --count 400 --seed 77 --out "$work/text_scenes"
  ./swerve sft-texts --scenes "$work/text_scenes" --examples 4000 --out "$work/corpus.txt"
  "$work/venv/bin/python" tools/make_tiny.py --out "$work/start.part" --texts "$work/corpus.txt" --seed 0
  mv "$work/start.part" "$work/start"
fi
if [ ! -f "$work/scenes.done" ]; then
  rm -rf "$work/scenes"
  ./swerve scenes generate --mix common --count 24000 --seed 1000 --out "$work/scenes"
  touch "$work/scenes.done"
fi
if [ ! -d "$work/one" ]; then
  say "stage one: questions"
  ./swerve sft --model "$work/start" --scenes "$work/scenes" --stage one --steps 3000 --batch 64 --micro-batch 64 \
    --lr 2e-3 --threads "$threads" --seed 0 --resume --out "$work/one"
fi
say "stage two: answers, and answers to feedback"
./swerve sft --model "$work/one" --scenes "$work/scenes" --stage two --steps 3200 --batch 16 --micro-batch 16 \
  --lr 1.2e-3 --threads "$threads" --seed 0 --resume --out "$out"
