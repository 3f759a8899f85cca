#!/usr/bin/env python3
"""Prints the Markdown table of docs/results.md from the results.json files of bench/ablation.sh.

    python3 bench/ablation_table.py runs/ablation
"""
import json
import pathlib
import statistics
import sys

ARMS = {"none": "GRPO (`none`)", "ground_truth": "GT-GRPO (`ground_truth`)", "rule": "Rule (`rule`)",
        "oracle": "feedback (`oracle`)"}


def cell(values, scale, digits):
    mean = f"{scale * statistics.fmean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {scale * statistics.stdev(values):.{digits}f}"


def row(label, results, side):
    overall = [r[side]["overall"] for r in results]
    seeds = ", ".join(str(r["seed"]) for r in results)
    pick = lambda key: [o[key] for o in overall]
    return (f"| {label} | {seeds} | {cell(pick('pdms'), 100, 1)} | {cell(pick('total_failure_ratio'), 100, 1)} % | "
            f"{cell(pick('nc'), 100, 1)} | {cell(pick('dac'), 100, 1)} | {cell(pick('planning_accuracy'), 100, 1)} | "
            f"{cell(pick('format_ok'), 100, 1)} |")


def main():
    arms = {}
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*/results.json")):
        arms.setdefault(path.parent.name.rsplit("-", 1)[0], []).append(json.loads(path.read_text()))
    if not arms:
        sys.exit(f"no results.json below {sys.argv[1]}: run bench/ablation.sh first")
    print("| arm | seeds | PDMS | total failures | NC | DAC | planning accuracy | format |")
    print("|---|---|---|---|---|---|---|---|")
    first = max(arms.values(), key=len)
    print(row("SFT (before)", first, "before"))
    for arm in [a for a in ARMS if a in arms] + [a for a in arms if a not in ARMS]:
        print(row(ARMS.get(arm, arm), arms[arm], "after"))


if __name__ == "__main__":
    main()
