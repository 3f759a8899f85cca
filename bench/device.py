#!/usr/bin/env python3
"""Swerve on a CUDA device: decoding, prompts and training, each against what the device can do at most.

    python bench/device.py --swerve build/release/swerve --work DIR [--device cuda:0] [--shape qwen15] [--out device.json]

Shapes are Qwen2.5's with random weights in bfloat16, made once in DIR (3 GB for qwen15). Decoding: 8 prompts of 512 tokens, 8
samples each, 128 new tokens; prompts: 32 of 1,024 tokens; training: AdamW over all weights, float32 beside bfloat16 products.
Goals (on a datacentre GPU): decoding at least 60 % of the memory bound, prompts 50 % and training 45 % of the arithmetic bound,
both bounds measured on the device in the same run.

Needs torch, safetensors (PyPI).
"""
import argparse
import json
import pathlib
import subprocess
import sys

import torch
from safetensors.torch import save_file

# hidden, intermediate, layers, heads, key heads
SHAPES = {"qwen05": (896, 4864, 24, 14, 2), "qwen15": (1536, 8960, 28, 12, 2)}
VOCABULARY = 151936


def make_model(shape, directory):
    hidden, mlp, layers, heads, kv = SHAPES[shape]
    directory.mkdir(parents=True, exist_ok=True)
    config = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": VOCABULARY, "hidden_size": hidden,
              "intermediate_size": mlp, "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv,
              "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "tie_word_embeddings": True, "rope_theta": 1e6,
              "hidden_act": "silu", "bos_token_id": 151643, "eos_token_id": 151645, "torch_dtype": "bfloat16"}
    (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator(device).manual_seed(0)
    d = hidden // heads
    sizes = {"model.embed_tokens.weight": (VOCABULARY, hidden), "model.norm.weight": (hidden,)}
    for i in range(layers):
        p = f"model.layers.{i}."
        for name, rows in (("q", hidden), ("k", kv * d), ("v", kv * d)):
            sizes[f"{p}self_attn.{name}_proj.weight"] = (rows, hidden)
            sizes[f"{p}self_attn.{name}_proj.bias"] = (rows,)
        sizes |= {p + "self_attn.o_proj.weight": (hidden, hidden), p + "mlp.gate_proj.weight": (mlp, hidden),
                  p + "mlp.up_proj.weight": (mlp, hidden), p + "mlp.down_proj.weight": (hidden, mlp),
                  p + "input_layernorm.weight": (hidden,), p + "post_attention_layernorm.weight": (hidden,)}
    tensors = {}
    for name, size in sizes.items():
        if "norm" in name:
            tensors[name] = torch.ones(size, dtype=torch.bfloat16)
        else:
            tensors[name] = (0.02 * torch.randn(size, device=device, generator=generator)).to("cpu", torch.bfloat16)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def swerve(binary, *args):
    done = subprocess.run([str(binary), "policy", *map(str, args)], capture_output=True, text=True)
    if done.returncode:
        print(f"swerve policy {' '.join(map(str, args))} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
        return {}
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--swerve", required=True, help="the binary")
    parser.add_argument("--work", required=True, help="where the weights are kept")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--shape", choices=list(SHAPES), default="qwen15")
    parser.add_argument("--only", choices=["decode", "prefill", "train"])
    parser.add_argument("--micro-batch", type=int, default=32, help="rows of a forward pass in training")
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args()
    directory = pathlib.Path(args.work) / args.shape
    if not (directory / "model.safetensors").exists():
        make_model(args.shape, directory)
    common = ["--model", directory, "--device", args.device, "--dtype", "bfloat16"]
    results = {"device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu", "shape": args.shape}
    if args.only in (None, "decode"):
        results["decode"] = swerve(args.swerve, "generate-bench", *common, "--scenes", 8, "--group", 8, "--prompt", 512, "--new", 128)
    if args.only in (None, "prefill"):
        results["prefill"] = swerve(args.swerve, "generate-bench", *common, "--scenes", 32, "--group", 1, "--prompt", 1024, "--new", 1)
    if args.only in (None, "train"):
        results["train"] = swerve(args.swerve, "train-bench", *common, "--sequences", args.micro_batch, "--length", 1024, "--new", 512,
                                  "--group", 1, "--micro-batch", args.micro_batch, "--steps", 4)
    goals = {"decode": ("decode_share_of_bandwidth_bound", 0.60), "prefill": ("prefill_share_of_arithmetic_bound", 0.50),
             "train": ("share_of_arithmetic_bound", 0.45)}
    for part, (key, goal) in goals.items():
        if key in results.get(part, {}):
            print(f"{part:8s} {100 * results[part][key]:5.1f} % of the bound (goal {100 * goal:.0f} %)")
    print(json.dumps(results))
    if args.out:
        pathlib.Path(args.out).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
