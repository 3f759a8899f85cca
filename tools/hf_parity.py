#!/usr/bin/env python3
"""Shows that `swerve policy` computes, loads and saves what transformers (and PEFT) does, on random models.

    python tools/hf_parity.py --swerve build/release/swerve [--rounds 3] [--seed 0] [--kind qwen2_5_vl] [--lora] [--long]

Each round makes a random shape of each architecture in each of its layouts, with requests of text alone, with one and
with several images in the middle. Compared, float32: log-probabilities (limit 1e-4), greedy continuations of 64 tokens by
LibTorch and by the engine's kernels where they take the shape, gradients (relative to each tensor's largest, 1e-4);
bfloat16: log-probabilities' mean difference. A directory saved by `swerve policy save` is loaded by transformers and must
give the same. --lora: adapters of PEFT, loaded and merged. --long: 1,500 tokens. Exit status 1 on any difference.
Needs what tools/random_models.py needs, and peft for --lora.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file

import random_models as rm

LIMIT = 1e-4


def swerve(binary, *args):
    done = subprocess.run([binary, "policy", *map(str, args)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"swerve policy {' '.join(map(str, args))}: {done.stderr}")
    return json.loads(done.stdout) if done.stdout else None


def requests_for(config, processor, r, tmp, long):
    out = []
    for images in [0, 0, 1, 2] if processor else [0, 0]:
        shown, files = [], []
        for _ in range(images):
            shown.append(rm.picture(r.randint(20, 150), r.randint(20, 150), r.randint(0, 99)))
            files.append(tmp / f"picture-{len(out)}-{len(files)}.png")
            shown[-1].save(files[-1])
        keywords, slots = rm.pictures(config, processor, shown)
        ids = rm.prompt(config, r, 1500 if long else r.choice([images + 1, 17, 120]), slots)
        out.append((ids, keywords, [str(f) for f in files]))
    return out


def rename(name, kind):
    """Swerve's canonical name of a transformers parameter."""
    if name == "lm_head.weight":
        return "language_model.lm_head.weight"
    if name.startswith("model.language_model."):
        return "language_model.model." + name[len("model.language_model."):]
    return "language_model." + name if kind == "qwen2" else name[len("model."):]


def check_gradients(model, requests, file, kind):
    model.zero_grad()
    for ids, keywords, _ in requests:
        (-rm.logprobs(rm.forward(model, ids, keywords), ids).sum()).backward()
    got, worst = load_file(file), 0.0
    largest = max(float(p.grad.abs().max()) for p in model.parameters() if p.grad is not None)
    for name, p in model.named_parameters():
        if p.grad is None or p.grad.abs().max() == 0:
            continue
        ours = got[rename(name, kind)].reshape(p.grad.shape)
        # Relative to the tensor's largest; what is zero in exact arithmetic (a key's bias) has no scale of its own.
        scale = max(float(p.grad.abs().max()), 1e-4 * largest)
        worst = max(worst, float((ours - p.grad).abs().max()) / scale)
    return worst


def check(a, kind, layout, seed, tmp):
    r = random.Random(f"{seed} {kind} {layout}")
    kernels = r.random() < 0.6
    config = rm.random_config(kind, r, kernels)
    processor = rm.image_processor(config, r)
    if layout == "original" and processor:
        processor["max_patches"] = 1  # its tiles are resized as Pillow does; tests/policy/image_test.cc covers them
    model = rm.make(config, seed)
    directory = rm.save(model, tmp / "model", layout, processor)
    if layout != "original":
        model = rm.load(directory, kind)
    requests = requests_for(model.config, processor, r, tmp, a.long)
    if layout == "original":
        requests = requests[:2]
    job = tmp / "job.json"
    job.write_text(json.dumps({"requests": [{"ids": i, "images": f, "greedy": 64} for i, _, f in requests]}))
    out = swerve(a.swerve, "logprobs", "--model", directory, "--in", job, "--gradients", tmp / "gradients.safetensors")["responses"]
    fused = swerve(a.swerve, "logprobs", "--model", directory, "--in", job, "--kernels")["responses"] if kernels else None
    worst, same, engine = 0.0, True, True
    with torch.no_grad():
        for i, (ids, keywords, _) in enumerate(requests):
            want = rm.logprobs(rm.forward(model, ids, keywords), ids)
            if len(want):
                worst = max(worst, float((want - torch.tensor(out[i]["logprobs"])).abs().max()))
            g = rm.greedy(model, ids, keywords, 64)
            same &= g == out[i]["greedy"]
            engine &= fused is None or g == fused[i]["greedy"]
    gradients = check_gradients(model, requests, tmp / "gradients.safetensors", kind)
    back = None
    swerve(a.swerve, "save", "--model", directory, "--out", tmp / "saved")
    first, second = load_all(directory), load_all(tmp / "saved")
    stored = first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
    if layout != "original":
        again = rm.load(tmp / "saved", kind)
        with torch.no_grad():
            back = all(torch.allclose(rm.forward(again, i, k), rm.forward(model, i, k), rtol=0, atol=1e-5) for i, k, _ in requests)
    half = check_half(a, tmp, directory, requests, kind) if layout != "original" else 0.0
    good = worst < LIMIT and same and engine and gradients < LIMIT and stored and back is not False and half < 0.05
    print(f"{'ok  ' if good else 'FAIL'} {kind:10} {layout:8} log-probabilities {worst:.1e}, greedy {'identical' if same else 'DIFFERS'}"
          f"{'' if fused is None else ', by the kernels ' + ('identical' if engine else 'DIFFERS')}, gradients {gradients:.1e}, bfloat16 {half:.1e}, "
          f"saved tensors {'identical' if stored else 'DIFFER'}, {'not loadable without remote code' if back is None else 'transformers loads them: ' + ('the same' if back else 'DIFFERENT')}", flush=True)
    return good


def load_all(directory):
    out = {}
    for f in sorted(pathlib.Path(directory).glob("*.safetensors")):
        out.update(load_file(f))
    return out


def check_half(a, tmp, directory, requests, kind):
    """Mean difference of log-probabilities in bfloat16."""
    model = rm.load(directory, kind, torch.bfloat16)
    out = swerve(a.swerve, "logprobs", "--model", directory, "--in", tmp / "job.json", "--dtype", "bfloat16")["responses"]
    total = count = 0
    with torch.no_grad():
        for (ids, keywords, _), got in zip(requests, out):
            total += float((rm.logprobs(rm.forward(model, ids, keywords), ids) - torch.tensor(got["logprobs"])).abs().sum())
            count += len(ids) - 1
    return total / max(1, count)


def check_lora(a, kind, seed, tmp):
    """PEFT's adapter read by Swerve, as an adapter and merged; Swerve's own, written after a step, read by PEFT."""
    import peft
    r = random.Random(f"{seed} {kind} lora")
    config = rm.random_config(kind, r)
    processor = rm.image_processor(config, r)
    directory = rm.save(rm.make(config, seed), tmp / "model", "hf", processor)
    model = rm.load(directory, kind)
    requests = requests_for(model.config, processor, r, tmp, False)
    lora = peft.LoraConfig(r=r.choice([2, 4, 8]), lora_alpha=r.choice([4, 16]), use_rslora=r.random() < 0.5, init_lora_weights=False,
                           target_modules=r".*\.layers\.\d+\.(self_attn|mlp)\.(q_proj|v_proj|down_proj)")
    tuned = peft.get_peft_model(model, lora).eval()
    tuned.save_pretrained(tmp / "adapter")
    job = tmp / "job.json"
    job.write_text(json.dumps({"requests": [{"ids": i, "images": f} for i, _, f in requests]}))
    runs = [swerve(a.swerve, "logprobs", "--model", directory, "--adapter", tmp / "adapter", "--in", job)["responses"]]
    swerve(a.swerve, "save", "--model", directory, "--adapter", tmp / "adapter", "--out", tmp / "merged")
    runs.append(swerve(a.swerve, "logprobs", "--model", tmp / "merged", "--in", job)["responses"])
    swerve(a.swerve, "save", "--model", directory, "--adapter", tmp / "adapter", "--adapter-out", tmp / "copied")
    again = peft.PeftModel.from_pretrained(rm.load(directory, kind), tmp / "copied").eval()
    worst = [0.0, 0.0, 0.0]
    with torch.no_grad():
        for i, (ids, keywords, _) in enumerate(requests):
            want = rm.logprobs(rm.forward(tuned, ids, keywords), ids)
            got = [torch.tensor(out[i]["logprobs"]) for out in runs] + [rm.logprobs(rm.forward(again, ids, keywords), ids)]
            worst = [max([w] + ([float((g - want).abs().max())] if len(want) else [])) for w, g in zip(worst, got)]
    good = max(worst) < LIMIT
    print(f"{'ok  ' if good else 'FAIL'} {kind:10} PEFT     adapter {worst[0]:.1e}, merged {worst[1]:.1e}, written by Swerve and read by PEFT {worst[2]:.1e}", flush=True)
    return good


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--swerve", required=True)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--kind", choices=rm.KINDS, action="append")
    p.add_argument("--lora", action="store_true")
    p.add_argument("--long", action="store_true")
    a = p.parse_args()
    torch.set_num_threads(1)
    good = True
    for seed in range(a.seed, a.seed + a.rounds):
        for kind in a.kind or rm.KINDS:
            for layout in ["peft"] if a.lora else rm.LAYOUTS[kind]:
                with tempfile.TemporaryDirectory() as tmp:
                    tmp = pathlib.Path(tmp)
                    good &= check_lora(a, kind, seed, tmp) if a.lora else check(a, kind, layout, seed, tmp)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
