#!/usr/bin/env python3
"""Is the policy better after than before, on the same scenes? Paired, so that hard and easy scenes cancel.

    python3 bench/paired_gain.py --pair before.jsonl after.jsonl [--pair …]

Takes what `swerve eval --responses` writes; several pairs (seeds) are averaged per scene first. Prints the mean change of
the greedy answer's PDMS and of the total-failure ratio, each with a 95 % bootstrap interval over scenes.
"""
import argparse
import json
import random
import statistics


def read(path):
    """{scene: (greedy PDMS, every sampled answer scored 0)}"""
    scenes = {}
    for line in open(path, encoding="utf-8"):
        answer = json.loads(line)
        value = answer["rewards"].get("traj", 0)
        entry = scenes.setdefault(answer["scene"], {"greedy": None, "sampled": []})
        if answer["temperature"] == 0:
            entry["greedy"] = value
        else:
            entry["sampled"].append(value)
    return {s: (e["greedy"], float(all(v == 0 for v in e["sampled"]))) for s, e in scenes.items() if e["greedy"] is not None}


def interval(values, rng, draws=10000):
    n = len(values)
    means = sorted(statistics.fmean(rng.choices(values, k=n)) for _ in range(draws))
    return means[int(0.025 * draws)], means[int(0.975 * draws)]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--pair", nargs=2, action="append", required=True, metavar=("BEFORE", "AFTER"))
    a = p.parse_args()
    pdms, failure = {}, {}
    for before_path, after_path in a.pair:
        before, after = read(before_path), read(after_path)
        for scene in before.keys() & after.keys():
            pdms.setdefault(scene, []).append(after[scene][0] - before[scene][0])
            failure.setdefault(scene, []).append(after[scene][1] - before[scene][1])
    if not pdms:
        raise SystemExit("the files have no scene in common")
    rng = random.Random(0)
    for name, changes in (("PDMS", pdms), ("total failures", failure)):
        values = [100 * statistics.fmean(v) for v in changes.values()]
        low, high = interval(values, rng)
        print(f"{name}: {statistics.fmean(values):+.1f} points [{low:+.1f}, {high:+.1f}] over {len(values)} scenes, {len(a.pair)} pair(s)")


if __name__ == "__main__":
    main()
