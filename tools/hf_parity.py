#!/usr/bin/env python3
"""Shows that `swerve policy logprobs` computes what transformers computes, on random models of several shapes.

    python tools/hf_parity.py --swerve build/release/swerve [--model DIR …]

Without --model it makes small models with tools/make_tiny.py in a temporary directory. Compares log-probabilities of
random ids with and without an image (limit 1e-4), greedy continuations of 64 tokens, the tokenizer on random texts, and
that a directory saved by transformers is what we read. Exit status 1 on any difference. Needs transformers, torch,
torchvision, pillow.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

HERE = pathlib.Path(__file__).resolve().parent
SHAPES = [[], ["--image", "56", "--hidden", "48", "--heads", "3", "--kv-heads", "1", "--mlp", "100", "--layers", "2",
               "--vit-hidden", "32", "--vit-heads", "2", "--vit-layers", "2", "--untied"],
          ["--image", "168", "--hidden", "192", "--heads", "3", "--kv-heads", "3", "--layers", "3", "--vit-hidden", "64"]]


def check(swerve, directory, tmp):
    torch.manual_seed(1)
    r = random.Random(1)
    model = AutoModelForImageTextToText.from_pretrained(directory, dtype=torch.float32).eval()
    with torch.no_grad():  # biases and norms that are not 0 and 1, and logits that are not flat
        for name, p in model.named_parameters():
            p.mul_(3.0) if "embed_tokens" in name or "lm_head" in name else p.add_(0.1 * torch.randn_like(p)) if p.dim() == 1 else None
    directory = pathlib.Path(tmp) / "scaled"
    model.save_pretrained(directory)
    tokenizer = AutoTokenizer.from_pretrained(directory_of(directory, tmp))
    c = model.config
    size = c.vision_config.image_size[0]
    picture = np.random.RandomState(0).randint(0, 256, (size, size, 3), dtype=np.uint8)
    file = pathlib.Path(tmp) / "picture.png"
    Image.fromarray(picture).save(file)
    processor = AutoProcessor.from_pretrained(directory_of(directory, tmp))
    pixels = processor.image_processor(images=[Image.fromarray(picture)], return_tensors="pt")["pixel_values"]
    requests = []
    for length, image in [(1, 0), (2, 0), (17, 0), (200, 0), (60, 1), (211, 1)]:
        ids = [r.choice([i for i in range(c.text_config.vocab_size) if i != c.image_token_id]) for _ in range(length)]
        if image:
            ids[3:3] = [c.image_token_id] * c.image_seq_length
        requests.append({"ids": ids, "images": [str(file)] if image else [], "greedy": 64})
    job = pathlib.Path(tmp) / "job.json"
    job.write_text(json.dumps({"requests": requests}))
    out = json.loads(subprocess.run([swerve, "policy", "logprobs", "--model", directory, "--in", job], check=True,
                                    capture_output=True, text=True).stdout)["responses"]
    worst, greedy_ok = 0.0, True
    for q, a in zip(requests, out):
        ids = torch.tensor([q["ids"]])
        kw = {"pixel_values": pixels} if q["images"] else {}
        with torch.no_grad():
            lp = model(input_ids=ids, **kw).logits.log_softmax(-1)[0]
            g = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=64, do_sample=False, **kw)
        want = lp[:-1].gather(1, ids[0, 1:, None])[:, 0]
        if len(want):
            worst = max(worst, float((want - torch.tensor(a["logprobs"])).abs().max()))
        greedy_ok &= g[0, ids.shape[1]:].tolist() == a["greedy"]
    words = ["lead car 12 m ahead speed 3.4 ", "[12.3,-0.4,0.05],", "<think>", "<|im_end|>", "\n\n", "  ", "Größe ", "ﬁ", "e\u0301",
             "日本", "👩‍👩‍👧", "\u00a0", "-", "1234567.5", "\x00", "\u2028", "</answer>", "?!..."]
    texts = ["".join(r.choice(words) for _ in range(r.randint(1, 30))).replace("\n", " ") for _ in range(300)]
    got = subprocess.run([swerve, "tokenizer", "encode", "--model", directory], input="\n".join(texts) + "\n", check=True,
                         capture_output=True, text=True, encoding="utf-8").stdout.split("\n")[:-1]
    same = all(json.loads(x) == tokenizer.encode(t, add_special_tokens=False) for x, t in zip(got, texts)) and len(got) == len(texts)
    print(f"  log-probabilities within {worst:.2e}, greedy {'identical' if greedy_ok else 'DIFFERS'}, tokenizer {'identical' if same else 'DIFFERS'}")
    return worst < 1e-4 and greedy_ok and same


def directory_of(directory, tmp):
    """Adds the tokenizer and processor files the model's own save leaves out."""
    for f in (pathlib.Path(tmp) / "made").iterdir():
        target = pathlib.Path(directory) / f.name
        if not target.exists():
            target.write_bytes(f.read_bytes())
    return directory


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--swerve", required=True)
    p.add_argument("--model", action="append")
    a = p.parse_args()
    good = True
    for shape in a.model or SHAPES:
        with tempfile.TemporaryDirectory() as tmp:
            made = pathlib.Path(tmp) / "made"
            if a.model:
                made.symlink_to(pathlib.Path(shape).resolve())
            else:
                subprocess.run([sys.executable, HERE / "make_tiny.py", "--out", made, *shape], check=True, capture_output=True)
            print(shape or "default", flush=True)
            good &= check(a.swerve, str(made), tmp)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
