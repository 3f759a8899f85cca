#!/usr/bin/env python3
"""Swerve's generation against transformers, on the same machine in one run.

    python bench/generation.py --swerve build/release/swerve [--only demo|qwen05] [--threads 2] [--out generation.json]

The demo policy: 16 prompts of 220 tokens, 8 samples of 140 tokens each. Qwen2.5-0.5B's shape with random weights, fp32 and
bf16: 8 prompts of 220 tokens, a sample each. The two sides run in turns, `--rounds` times; the best of each counts. Both pick
the likeliest token and stop nowhere, so that both decode the same number.

The peer runs at the best of its settings: attention by SDPA or eager, keys and values in the growing cache or the static
one, each prompt run once and its keys and values repeated for the samples, the batch whole or in halves. Its best
setting is looked for once, with fewer tokens, and named.

Needs what bench/peer.py names.
"""
import itertools
import sys
import tempfile
import time

import torch
from transformers import DynamicCache, StaticCache

from peer import Peer, arguments, model_directory, report, swerve

# name: scenes, group, prompt, new, dtypes, goals of Swerve over the peer
CASES = {
    "demo": dict(scenes=16, group=8, prompt=220, new=140, dtypes=["float32"]),
    "qwen05": dict(scenes=8, group=1, prompt=220, new=32, dtypes=["float32", "bfloat16"]),
}
GOALS = {("demo", "float32"): {"end_to_end": 5.0}, ("qwen05", "float32"): {"decode": 2.5, "prefill": 0.95},
         ("qwen05", "bfloat16"): {"decode": 3.0, "prefill": 0.95}}
RATES = ["prefill", "decode", "end_to_end"]


@torch.inference_mode()
def generate(peer, case, new, static, batch):
    """Seconds of prefill and of decoding `new` tokens a sample, prompts in batches of `batch`."""
    times = {"prefill": 0.0, "decode": 0.0}
    group = case["group"]
    ids, pixels = peer.prompts(case["scenes"], case["prompt"])
    for at in range(0, case["scenes"], batch):
        part = ids[at:at + batch]
        rows = part.shape[0] * group
        start = time.perf_counter()
        cache = DynamicCache(config=peer.config.get_text_config())
        seen = {"pixel_values": pixels[at:at + batch]} if pixels is not None else {}
        logits = peer.model(input_ids=part, past_key_values=cache, use_cache=True, logits_to_keep=1, **seen).logits
        if group > 1:
            cache.batch_repeat_interleave(group)
        if static:
            fixed = StaticCache(config=peer.config.get_text_config(), max_cache_len=case["prompt"] + new)
            where = torch.arange(case["prompt"])
            for i, layer in enumerate(cache.layers):
                fixed.update(layer.keys, layer.values, i, {"cache_position": where})
            cache = fixed
        token = logits[:, -1].argmax(-1, keepdim=True).repeat_interleave(group, 0)
        times["prefill"] += time.perf_counter() - start
        start = time.perf_counter()
        mask = None
        for step in range(new):
            place = {}
            if static:
                position = torch.tensor([case["prompt"] + step])
                place = {"cache_position": position, "position_ids": position.expand(rows, 1)}
            token = peer.model(input_ids=token, past_key_values=cache, use_cache=True, attention_mask=mask, **place).logits[:, -1].argmax(-1, keepdim=True)
        times["decode"] += time.perf_counter() - start
    return times


def best_setting(directory, dtype, case):
    """The fastest setting of the peer, and the peer set so."""
    found = None
    for attention in ["sdpa", "eager"]:
        peer = Peer(directory, dtype, attention)
        peer.model.eval()
        for static, batch in itertools.product([False, True], sorted({case["scenes"], max(1, case["scenes"] // 2)})):
            name = f"{attention}, {'static' if static else 'growing'} cache, {batch * case['group']} rows at a time"
            try:
                generate(peer, case, 4, static, batch)  # warms up
                t = generate(peer, case, max(8, case["new"] // 4), static, batch)
            except (RuntimeError, TypeError, ValueError, AttributeError) as error:
                print(f"  {name}: not possible ({str(error).splitlines()[0][:90]})", file=sys.stderr)
                continue
            print(f"  {name}: {t['prefill']:.2f} + {t['decode']:.2f} s", file=sys.stderr)
            total = t["prefill"] + 4 * t["decode"]
            if found is None or total < found[0]:
                found = (total, name, peer, static, batch)
    return found[1:]


def rates(case, times):
    tokens = case["scenes"] * case["group"] * case["new"]
    return {"prefill": case["scenes"] * case["prompt"] / times["prefill"], "decode": tokens / times["decode"],
            "end_to_end": tokens / (times["prefill"] + times["decode"])}


def measure(name, dtype, args, work):
    case = CASES[name]
    directory = model_directory(name, work)
    print(f"{name}, {dtype}: looking for the peer's best setting", file=sys.stderr)
    setting, peer, static, batch = best_setting(directory, getattr(torch, dtype), case)
    theirs, ours, shown = dict.fromkeys(RATES, 0.0), dict.fromkeys(RATES, 0.0), {}
    for _ in range(args.rounds):
        got = rates(case, generate(peer, case, case["new"], static, batch))
        theirs = {k: max(theirs[k], got[k]) for k in RATES}
        line = swerve(args.swerve, "generate-bench", "--model", directory, "--threads", args.threads, "--dtype", dtype, "--scenes", case["scenes"],
                      "--group", case["group"], "--prompt", case["prompt"], "--new", case["new"])
        if line["end_to_end_tokens_per_second"] > ours["end_to_end"]:
            shown = line
        ours = {k: max(ours[k], line[f"{k}_tokens_per_second"]) for k in RATES}
    goals = GOALS[(name, dtype)]
    return [{"model": name, "dtype": dtype, "threads": args.threads, "what": k, "swerve": ours[k], "transformers": theirs[k], "ratio": ours[k] / theirs[k],
             "goal": goals.get(k), "setting": setting,
             "share_of_bandwidth_bound": shown["decode_share_of_bandwidth_bound"] if k == "decode" else None,
             "share_of_arithmetic_bound": shown[f"{k}_share_of_arithmetic_bound"] if k != "end_to_end" else None} for k in RATES]


def main():
    args = arguments(__doc__, CASES)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in [args.only] if args.only else CASES:
            for dtype in CASES[name]["dtypes"]:
                rows += measure(name, dtype, args, args.work or scratch)
    share = lambda v: "" if v is None else f"{100 * v:.0f} %"
    report(rows, [("model", lambda r: r["model"]), ("dtype", lambda r: r["dtype"]), ("tokens a second", lambda r: r["what"]),
                  ("swerve", lambda r: f"{r['swerve']:,.0f}"), ("transformers", lambda r: f"{r['transformers']:,.0f}"),
                  ("ratio", lambda r: f"{r['ratio']:.2f}"), ("goal", lambda r: "" if r["goal"] is None else f"{r['goal']:.2f}"),
                  ("of bandwidth", lambda r: share(r["share_of_bandwidth_bound"])), ("of arithmetic", lambda r: share(r["share_of_arithmetic_bound"])),
                  ("the peer's setting", lambda r: r["setting"])], args.out)


if __name__ == "__main__":
    main()
