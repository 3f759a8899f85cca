#!/usr/bin/env python3
"""Swerve's training against transformers, on the same machine in one run.

    python bench/training.py --swerve build/release/swerve [--only demo|qwen05] [--threads 2] [--out training.json]

Forward, backward, clipping and AdamW, float32, over all weights but those of the vision tower: groups of 8 answers of 140
tokens to prompts of 220 tokens, four groups for the demo policy and one for Qwen2.5-0.5B's shape with random weights. A second
case of the demo policy shares no prompt: every row has its own. Tokens a second count every row's prompt and answer, whatever was computed.
The two sides run in turns, `--rounds` times; the best of each counts.

The peer runs at the best of its settings: attention by SDPA or eager, all rows at once or in parts, logits of the answers
alone, AdamW fused. All rows are of the same length, so that its batches hold no padding. transformers has no way to run a
prompt once for the answers that share it, so it runs each row whole.

Needs what bench/peer.py names.
"""
import gc
import sys
import tempfile
import time

import torch

from peer import Peer, arguments, model_directory, report, swerve

CASES = {"demo": dict(sequences=32, prompt=220, new=140, micro=[32, 16, 8], groups=[8, 1], warm=1),
         "qwen05": dict(sequences=8, prompt=220, new=140, micro=[8, 4], groups=[8], warm=0)}
GOAL = 1.5


class Trainer:
    def __init__(self, directory, case, group, attention):
        self.peer = Peer(directory, torch.float32, attention)
        model = self.peer.model
        model.train()
        for name, parameter in model.named_parameters():
            if "vision_tower" in name or "multi_modal_projector" in name:
                parameter.requires_grad_(False)
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(self.parameters, lr=1e-5, betas=(0.9, 0.95), weight_decay=0.05, fused=True)
        prompts, pixels = self.peer.prompts(case["sequences"] // group, case["prompt"])
        self.ids = torch.cat([prompts.repeat_interleave(group, 0), self.peer.answers(case["sequences"], case["new"])], 1)
        self.pixels = None if pixels is None else pixels.repeat_interleave(group, 0)
        self.new = case["new"]

    def step(self, micro):
        start = time.perf_counter()
        self.optimiser.zero_grad(set_to_none=True)
        for at in range(0, len(self.ids), micro):
            ids = self.ids[at:at + micro]
            seen = {} if self.pixels is None else {"pixel_values": self.pixels[at:at + micro]}
            logits = self.peer.model(input_ids=ids, use_cache=False, logits_to_keep=self.new + 1, **seen).logits
            loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, -self.new:].flatten(), reduction="sum")
            (loss / (len(self.ids) * self.new)).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        return time.perf_counter() - start


def best_setting(directory, case, group):
    found = None
    for attention in ["sdpa", "eager"]:
        trainer = Trainer(directory, case, group, attention)
        for micro in case["micro"]:
            for _ in range(case["warm"]):
                trainer.step(micro)
            t = trainer.step(micro)
            name = f"{attention}, {micro} rows at a time"
            print(f"  {name}: {t:.2f} s a step", file=sys.stderr)
            if found is None or t < found[0]:
                found = (t, name, attention, micro)
        del trainer
        gc.collect()
    return found[1:]


def measure(name, group, args, work):
    case = CASES[name]
    directory = model_directory(name, work)
    print(f"{name}, groups of {group}: looking for the peer's best setting", file=sys.stderr)
    setting, attention, micro = best_setting(directory, case, group)
    tokens = case["sequences"] * (case["prompt"] + case["new"])
    theirs, ours = 0.0, {"tokens_per_second": 0.0}
    for _ in range(args.rounds):
        # Made anew each round: both sides' optimisers at once would not fit a small machine.
        trainer = Trainer(directory, case, group, attention)
        theirs = max(theirs, tokens / min(trainer.step(micro) for _ in range(3 if case["warm"] else 2)))
        del trainer
        gc.collect()
        line = swerve(args.swerve, "train-bench", "--model", directory, "--threads", args.threads, "--sequences", case["sequences"], "--length",
                      case["prompt"] + case["new"], "--new", case["new"], "--group", group, "--steps", 3)
        if line["tokens_per_second"] > ours["tokens_per_second"]:
            ours = line
    return {"model": name, "group": group, "threads": args.threads, "swerve": ours["tokens_per_second"], "transformers": theirs,
            "ratio": ours["tokens_per_second"] / theirs, "goal": GOAL if group > 1 else None,
            "share_of_arithmetic_bound": ours["share_of_arithmetic_bound"], "peak_memory_bytes": ours["peak_memory_bytes"], "setting": setting}


def main():
    args = arguments(__doc__, CASES)
    with tempfile.TemporaryDirectory() as scratch:
        rows = [measure(name, group, args, args.work or scratch) for name in ([args.only] if args.only else CASES) for group in CASES[name]["groups"]]
    report(rows, [("model", lambda r: r["model"]), ("rows a prompt", lambda r: str(r["group"])), ("swerve, tokens/s", lambda r: f"{r['swerve']:,.0f}"),
                  ("transformers", lambda r: f"{r['transformers']:,.0f}"), ("ratio", lambda r: f"{r['ratio']:.2f}"),
                  ("goal", lambda r: "" if r["goal"] is None else f"{r['goal']:.2f}"), ("of arithmetic", lambda r: f"{100 * r['share_of_arithmetic_bound']:.0f} %"),
                  ("the peer's setting", lambda r: r["setting"])], args.out)


if __name__ == "__main__":
    main()
