#!/usr/bin/env python3
"""Writes tests/policy/data: a model of about 100,000 parameters and what transformers and tokenizers compute with it.

    python tools/make_policy_golden.py [--out tests/policy/data]      (wants models/tiny for its tokenizer)
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, pre_tokenizers
from transformers import AutoModelForImageTextToText

HERE = pathlib.Path(__file__).resolve().parent
QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
WORDS = ["lead car 12 m ahead speed 3.4 ", "[12.3,-0.4,0.05],", "<think>", "<|im_end|>", "\n\n", "  ", "Größe ", "ﬁ", "e\u0301", "日本",
         "👩‍👩‍👧", "\u00a0", "-", "1234567.5", "\x00", "\u2028", "</answer>", "?!...", "don't", "\t", "\x85", "\x0b", "\r\n", "<answer"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", default=str(HERE.parent / "tests/policy/data"))
    out = pathlib.Path(p.parse_args().out)
    model_dir = out / "model"
    subprocess.run([sys.executable, HERE / "make_tiny.py", "--out", model_dir, "--tokenizer", HERE.parent / "models/tiny",
                    "--image", "56", "--hidden", "48", "--heads", "3", "--kv-heads", "1", "--mlp", "100", "--layers", "2",
                    "--vit-hidden", "32", "--vit-heads", "2", "--vit-layers", "2"], check=True)
    model = AutoModelForImageTextToText.from_pretrained(model_dir, dtype=torch.float32).eval()
    c, r = model.config, random.Random(5)
    # The picture both sides compute: byte i is (7 i + i // 256) mod 256.
    n = c.vision_config.image_size[0]
    i = np.arange(n * n * 3)
    picture = ((7 * i + i // 256) % 256).astype(np.float32).reshape(n, n, 3) / 255
    picture = (picture - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    pixels = torch.tensor(picture.transpose(2, 0, 1)[None], dtype=torch.float32)
    cases = []
    for length, image in [(2, False), (40, False), (57, True)]:
        ids = [r.choice([k for k in range(c.text_config.vocab_size) if k != c.image_token_id]) for _ in range(length)]
        if image:
            ids[1:1] = [c.image_token_id] * c.image_seq_length
        t = torch.tensor([ids])
        kw = {"pixel_values": pixels} if image else {}
        with torch.no_grad():
            lp = model(input_ids=t, **kw).logits.log_softmax(-1)[0, :-1].gather(1, t[0, 1:, None])[:, 0]
            g = model.generate(input_ids=t, attention_mask=torch.ones_like(t), max_new_tokens=24, do_sample=False, **kw)
        cases.append({"ids": ids, "image": image, "logprobs": [round(float(x), 7) for x in lp], "greedy": g[0, len(ids):].tolist()})
    tok = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    texts = [""] + ["".join(r.choice(WORDS) for _ in range(r.randint(1, 25))) for _ in range(150)]
    ours = [{"text": t, "ids": tok.encode(t, add_special_tokens=False).ids} for t in texts]
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN), behavior="isolated"),
                                                 pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    qwen = [{"text": t, "ids": tok.encode(t, add_special_tokens=False).ids} for t in texts]
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    gpt2 = [{"text": t, "ids": tok.encode(t, add_special_tokens=False).ids} for t in texts]
    json.dump({"cases": cases, "qwen_regex": QWEN, "tokenizer": ours, "tokenizer_qwen": qwen, "tokenizer_gpt2": gpt2},
              open(out / "golden.json", "w"), separators=(",", ":"))


if __name__ == "__main__":
    main()
