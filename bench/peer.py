"""What bench/generation.py and bench/training.py share: the models, transformers as the peer, and running Swerve's side.

Needs torch, transformers 5.23, safetensors and numpy (PyPI).
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, Qwen2Config, Qwen2ForCausalLM

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


def model_directory(name, work):
    """`demo`: the shipped policy. `qwen05`: Qwen2.5-0.5B's shape with random weights, made once in `work`. Else a path."""
    if name == "demo":
        return REPOSITORY / "models" / "tiny"
    if name != "qwen05":
        return pathlib.Path(name)
    directory = pathlib.Path(work) / "qwen05"
    if not (directory / "model.safetensors").exists():
        torch.manual_seed(0)
        config = Qwen2Config(vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
                             num_key_value_heads=2, max_position_embeddings=32768, rms_norm_eps=1e-6, tie_word_embeddings=True,
                             rope_parameters={"rope_type": "default", "rope_theta": 1e6}, bos_token_id=151643, eos_token_id=151645)
        Qwen2ForCausalLM(config).save_pretrained(directory)
    return directory


class Peer:
    """A model in transformers, and the inputs that `swerve policy …-bench` feeds: random tokens, one plain picture a prompt."""

    def __init__(self, directory, dtype, attention="sdpa"):
        self.config = AutoConfig.from_pretrained(directory)
        self.sees = hasattr(self.config, "vision_config")
        kind = AutoModelForImageTextToText if self.sees else AutoModelForCausalLM
        self.model = kind.from_pretrained(directory, dtype=dtype, attn_implementation=attention)
        self.vocabulary = (self.config.text_config if self.sees else self.config).vocab_size

    def prompts(self, count, length, seed=0):
        rng = np.random.default_rng(seed)
        ids = rng.integers(0, self.vocabulary, size=(count, length))
        pixels = None
        if self.sees:
            image, slots = self.config.image_token_id, self.config.image_seq_length
            ids[ids == image] = 0
            if length > slots + 2:
                ids[:, 1:1 + slots] = image
                side = self.config.vision_config.image_size
                pixels = torch.full((count, 3, *(side if isinstance(side, (list, tuple)) else [side, side])), 0.1, dtype=self.model.dtype)
        return torch.tensor(ids), pixels

    def answers(self, count, length, seed=1):
        ids = np.random.default_rng(seed).integers(0, self.vocabulary, size=(count, length))
        if self.sees:
            ids[ids == self.config.image_token_id] = 0
        return torch.tensor(ids)


def swerve(binary, *args):
    """One JSON line of `swerve policy …`."""
    done = subprocess.run([str(binary), "policy", *map(str, args)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"swerve policy {' '.join(map(str, args))} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def machine():
    with open("/proc/cpuinfo", encoding="ascii") as info:
        flags = next(line for line in info if line.startswith("flags")).split()
    wide = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags]
    return f"{os.cpu_count()} cores, {' '.join(wide)}, torch {torch.__version__}"


def arguments(documentation, models):
    """What both benches take, parsed."""
    parser = argparse.ArgumentParser(description=documentation.splitlines()[0])
    parser.add_argument("--swerve", required=True, help="the binary")
    parser.add_argument("--only", choices=list(models), help="one model (default: both)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", help="where the 2 GB of random weights are kept (default: a temporary directory)")
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    return args


def report(rows, columns, out):
    """The figures as a table on the terminal, and as JSON in the file `out` when it is given."""
    cells = [[title for title, _ in columns]] + [[text(row) for _, text in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        print("  ".join(cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(line, widths))))
    if out:
        pathlib.Path(out).write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n", encoding="utf-8")
