#!/usr/bin/env python3
"""Writes the language half of an InternVL policy as a text policy, for servers that do not know the whole. Any python3 runs it.

    tools/text_policy.py models/tiny build/tiny_text
"""
import json
import pathlib
import shutil
import struct
import sys

PREFIXES = ("model.language_model.", "language_model.model.")  # of transformers' layouts, new and old


def read(path):
    """{name: (dtype, shape, bytes)} of a safetensors file."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    at = 8 + size
    return {n: (t["dtype"], t["shape"], data[at + t["data_offsets"][0] : at + t["data_offsets"][1]]) for n, t in header.items()}


def write(path, tensors):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def main(source, target):
    config = json.loads((source / "config.json").read_text())
    if config.get("text_config", {}).get("model_type") != "qwen2":
        sys.exit(f"text_policy: {source}/config.json has no text_config of model_type qwen2")
    tensors = {}
    for file in sorted(source.glob("*.safetensors")):
        for name, tensor in read(file).items():
            for prefix in PREFIXES:
                if name.startswith(prefix):
                    tensors["model." + name[len(prefix) :]] = tensor
            if name in ("lm_head.weight", "language_model.lm_head.weight"):
                tensors["lm_head.weight"] = tensor
    if not tensors:
        sys.exit(f"text_policy: no tensor of {source} begins with {' or '.join(PREFIXES)}")
    target.mkdir(parents=True, exist_ok=True)
    write(target / "model.safetensors", tensors)
    text = config["text_config"] | {"architectures": ["Qwen2ForCausalLM"], "dtype": config.get("dtype", "float32")}
    text["tie_word_embeddings"] = "lm_head.weight" not in tensors
    (target / "config.json").write_text(json.dumps(text, indent=2) + "\n")
    for file in source.iterdir():
        if file.name.startswith(("tokenizer", "special_tokens", "chat_template", "generation_config", "vocab", "merges")):
            shutil.copy(file, target)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
