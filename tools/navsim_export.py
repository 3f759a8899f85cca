#!/usr/bin/env python3
"""NAVSIM's data and submissions for Swerve.

  navsim_export.py scenes --cache DIR [--cache DIR2] [--logs DIR] [--maps DIR] --out DIR [--verify 50]
      metric caches (v1, v2, or both of the same samples) into a scene data set, which `swerve score`, `swerve reward` and
      `swerve train` read. --logs adds what a cache lacks: history, ground truth, command, 2 Hz tracks. Without --cache, logs
      and maps become raw scenes: run `swerve scenes resolve DIR` on them next.
  navsim_export.py submission FILE.pkl --out FILE.json
      a submission pickle into what `swerve score --submission` reads. Nothing in the pickle is run.

`scenes` runs in the Python environment of your NAVSIM installation (or with --navsim DIR of its checkout), with `pip
install ./python` of Swerve in it: a metric cache is a pickle of NAVSIM's own classes. Read only caches and logs that you
made or trust. `submission` needs Python alone. docs/scores.md says what becomes of what.
"""

import argparse
import glob
import importlib
import importlib.util
import json
import lzma
import os
import pathlib
import pickle
import random
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.append(str(HERE.parent / "python"))

import navsim_submission  # noqa: E402


class Progress:
    """One line on stderr: share, rate, time left. Every second on a terminal, else every tenth part."""

    def __init__(self, total, done=0):
        self.total, self.first, self.start, self.shown = total, done, time.monotonic(), 0.0
        self.terminal, self.part = sys.stderr.isatty(), -1

    def show(self, done, note=""):
        now, part = time.monotonic(), 10 * done // max(self.total, 1)
        if done < self.total and (now - self.shown < 1 if self.terminal else part == self.part):
            return
        self.shown, self.part = now, part
        rate = (done - self.first) / max(now - self.start, 1e-9)
        left = int((self.total - done) / rate) if rate > 0 else 0
        line = (f"exporting {100 * done // max(self.total, 1):3d}% {done}/{self.total} samples  {rate:.1f}/s  "
                f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left{note}")
        print(("\r" if self.terminal else "") + line, end="" if self.terminal and done < self.total else "\n",
              file=sys.stderr, flush=True)


def load_cache(path):
    with lzma.open(path, "rb") as file:
        return pickle.load(file)


def find_caches(directories):
    """{token: [(path, log name)]}: …/LOG/TYPE/TOKEN/metric_cache.pkl, as NAVSIM lays them out."""
    found = {}
    for directory in directories:
        paths = sorted(pathlib.Path(directory).rglob("metric_cache.pkl"))
        if not paths:
            raise SystemExit(f"navsim_export: no metric_cache.pkl under {directory}")
        for path in paths:
            found.setdefault(path.parent.name, []).append((path, path.parents[2].name if len(path.parents) > 2 else ""))
    return found


def load_log(path):
    with open(path, "rb") as file:
        return pickle.load(file)


def find_frames(directory, wanted):
    """{token: (log file, frame number)} of the samples in `wanted`; of every frame with enough around it when None."""
    files = sorted(glob.glob(os.path.join(directory, "**", "*.pkl"), recursive=True))
    if not files:
        raise SystemExit(f"navsim_export: no logs (*.pkl) under {directory}")
    found = {}
    for path in files:
        frames = load_log(path)
        for i, frame in enumerate(frames):
            if (frame["token"] in wanted) if wanted is not None else 3 <= i < len(frames) - 10:
                found[frame["token"]] = (path, i)
    return found


class Samples:
    """What there is of every token, and the scene made of it."""

    def __init__(self, options, convert, messages):
        self.convert, self.messages = convert, messages
        self.caches = find_caches(options.cache) if options.cache else {}
        tokens = None
        if options.tokens:
            with open(options.tokens, encoding="utf-8") as file:
                tokens = set(file.read().split())
        if tokens is not None and self.caches:
            self.caches = {t: c for t, c in self.caches.items() if t in tokens}
        self.frames = find_frames(options.logs, set(self.caches) if self.caches else tokens) if options.logs else {}
        self.maps_root = options.maps
        self.maps = {}
        self.log_path, self.log = None, None
        by_log = lambda t: (str(self.frames[t][0]) if t in self.frames else "", self.frames.get(t, ("", 0))[1], t)
        self.tokens = sorted(self.caches or self.frames, key=by_log)  # each log is read once

    def scene(self, token):
        scene = self.messages.Scene()
        for path, log_name in self.caches.get(token, ()):
            self.convert.add_cache(scene, load_cache(path), token, log_name)
        if token in self.frames:
            path, number = self.frames[token]
            if path != self.log_path:
                self.log_path, self.log = path, load_log(path)
            self.convert.add_log(scene, self.log, number)
        if scene.command == 0:
            scene.command = self.convert.command_of(scene)
        if self.maps_root:
            self.add_map(scene)
        return scene

    def add_map(self, scene):
        datatypes = importlib.import_module("nuplan.common.maps.maps_datatypes")
        factory = importlib.import_module("nuplan.common.maps.nuplan_map.map_factory")
        point = importlib.import_module("nuplan.common.actor_state.state_representation").Point2D
        name = "us-nv-las-vegas-strip" if scene.location == "las_vegas" else scene.location
        if name not in self.maps:
            self.maps[name] = factory.get_maps_api(self.maps_root, "nuplan-maps-v1.0", name)
        ego = scene.ego.rear_axle
        self.convert.add_map(scene, self.maps[name], datatypes.SemanticMapLayer, point(ego.x, ego.y))


def export(options):
    if options.navsim:
        sys.path.insert(0, options.navsim)
    import navsim_convert
    from scene_writer import SceneWriter
    from swerve import _messages as messages

    if not options.cache and not (options.logs and options.maps):
        raise SystemExit("navsim_export: give --cache DIR, or --logs DIR and --maps DIR")
    try:
        writer = SceneWriter(options.out, options.shard_scenes)
    except FileExistsError as error:
        raise SystemExit(f"navsim_export: {error}") from error
    samples = Samples(options, navsim_convert, messages)
    if writer.done:
        print(f"{len(writer.done)} samples are exported already; going on", file=sys.stderr)
    progress = Progress(len(samples.tokens), len(writer.done.intersection(samples.tokens)))
    for number, token in enumerate(samples.tokens, 1):
        if token in writer.done:
            continue
        try:
            scene = samples.scene(token)
        except (navsim_convert.Unusable, AttributeError, KeyError, IndexError, TypeError, ValueError, EOFError,
                lzma.LZMAError, pickle.UnpicklingError) as error:
            writer.skip(token, f"{type(error).__name__}: {error}")
        else:
            writer.add(token, scene)
        progress.show(number, f", {len(writer.skipped)} left out" if writer.skipped else "")
    try:
        writer.finish()
    except ValueError as error:
        raise SystemExit(f"navsim_export: {error}: " + "; ".join(f"{t}: {w}" for t, w in writer.skipped[:3])) from error
    for token, why in writer.skipped:
        print(f"left out: {token}: {why}", file=sys.stderr)
    print(f"{len(writer.entries)} scenes in {options.out}, {len(writer.skipped)} samples left out")
    wrong = 0
    if options.verify:
        if not samples.caches:
            raise SystemExit("navsim_export: --verify compares with metric caches; give --cache")
        wrong = verify(options, samples, [e["id"] for e in writer.entries])
    return 1 if wrong or writer.skipped else 0


# --verify --------------------------------------------------------------------------------------------------------------

V1 = {"no_at_fault_collisions": "NC", "drivable_area_compliance": "DAC", "driving_direction_compliance": "DDC",
      "ego_progress": "EP", "time_to_collision_within_bound": "TTC", "comfort": "C", "score": "PDMS"}
V2 = {"no_at_fault_collisions": "NC", "drivable_area_compliance": "DAC", "driving_direction_compliance": "DDC",
      "traffic_light_compliance": "TLC", "ego_progress": "EP", "time_to_collision_within_bound": "TTC",
      "lane_keeping": "LK", "history_comfort": "HC"}


def plan_of(scene, number):
    """Something to score: the driven trajectory or the reference, as it is, faster, to the side, or standing still."""
    from navsim_convert import to_ego

    ego = scene.ego.rear_axle
    if len(scene.gt) == 8:
        plan = [(p.x, p.y, p.heading) for p in scene.gt]
    else:
        resolved = scene.resolved_v1 if scene.HasField("resolved_v1") else scene.resolved_v2
        plan = [to_ego((ego.x, ego.y, ego.heading), p.x, p.y, p.heading) for p in list(resolved.pdm_reference)[5:41:5]]
    kind = number % 4
    if kind == 1:
        return [(1.5 * x, y, h) for x, y, h in plan]
    if kind == 2:
        return [(x, y + 0.25 * i, h) for i, (x, y, h) in enumerate(plan, 1)]
    return [(0.0, 0.0, 0.0)] * 8 if kind == 3 else plan


def official(cache, plan):
    """{our name: value} by the installed scorer, which must be of the cache's version."""
    import numpy
    from navsim.common.dataclasses import Trajectory
    from navsim.evaluate.pdm_score import pdm_score
    from navsim.planning.simulation.planner.pdm_planner.scoring.pdm_scorer import PDMScorer
    from navsim.planning.simulation.planner.pdm_planner.simulation.pdm_simulator import PDMSimulator
    from nuplan.planning.simulation.trajectory.trajectory_sampling import TrajectorySampling

    sampling = TrajectorySampling(num_poses=40, interval_length=0.1)
    arguments = dict(metric_cache=cache, model_trajectory=Trajectory(numpy.array(plan, dtype=numpy.float64)),
                     future_sampling=sampling, simulator=PDMSimulator(sampling))
    if not hasattr(cache, "timepoint"):
        result = pdm_score(scorer=PDMScorer(sampling), **arguments)
        return {ours: float(getattr(result, name)) for name, ours in V1.items()}
    from navsim.planning.simulation.planner.pdm_planner.scoring.pdm_scorer import PDMScorerConfig
    from navsim.traffic_agents_policies.log_replay_traffic_agents import LogReplayTrafficAgents

    row, _ = pdm_score(scorer=PDMScorer(sampling, PDMScorerConfig(human_penalty_filter=True)),
                       traffic_agents_policy=LogReplayTrafficAgents(sampling), **arguments)
    return {ours: float(row[name].iloc[0]) for name, ours in V2.items()}


def verify(options, samples, ids):
    """Scores `options.verify` scenes by both scorers; how many values differ by more than 1e-6."""
    from swerve.scenes import SceneSet

    scenes = SceneSet(options.out)
    chosen = random.Random(options.seed).sample(sorted(ids), min(options.verify, len(ids)))
    plans = {token: plan_of(scenes[token], i) for i, token in enumerate(chosen)}
    with tempfile.TemporaryDirectory() as folder:
        submission, scores = folder + "/submission.json", folder + "/scores.json"
        with open(submission, "w", encoding="utf-8") as out:
            json.dump({"schema": 1, "submission": plans}, out)
        subprocess.run([options.swerve, "score", "--scenes", options.out, "--submission", submission, "--out", scores],
                       check=True, stdout=subprocess.DEVNULL)
        with open(scores, encoding="utf-8") as file:
            ours = {s["name"]: s["candidates"][0] for s in json.load(file)["scenes"]}
    try:
        installed = "v2" if importlib.util.find_spec("navsim.traffic_agents_policies") else "v1"
    except ImportError as error:
        raise SystemExit(f"navsim_export: --verify needs NAVSIM importable: {error}") from error
    compared, wrong, largest = 0, 0, 0.0
    for token in chosen:
        for path, _ in samples.caches[token]:
            cache = load_cache(path)
            version = "v2" if hasattr(cache, "timepoint") else "v1"
            if version != installed:
                continue  # its scorer is not here
            theirs = official(cache, plans[token])
            mine = ours[token].get(version, {})
            mine = mine.get("filtered", {}) if version == "v2" else mine
            for name, value in theirs.items():
                difference = abs(value - mine.get(name, float("nan")))
                compared, largest = compared + 1, max(largest, difference if difference == difference else float("inf"))
                if not difference <= 1e-6:
                    wrong += 1
                    print(f"differs: {token} {version} {name}: official {value!r}, ours {mine.get(name)!r}")
    if compared == 0:
        raise SystemExit(f"navsim_export: --verify: the NAVSIM here is {installed}, and no cache is of it")
    print(f"verified {len(chosen)} scenes, {compared} values: {wrong} differ, largest difference {largest:.2g}")
    return wrong


def convert_submission(options):
    try:
        with open(options.file, "rb") as file:
            submission, problems = navsim_submission.read_submission(file, options.name)
        if options.mapping:
            submission["mapping"] = read_mapping(options.mapping)
    except (OSError, ValueError) as error:
        raise SystemExit(f"navsim_export: {options.file}: {error}") from error
    for problem in problems:
        print(f"navsim_export: {problem}", file=sys.stderr)
    with open(options.out, "w", encoding="utf-8") as out:
        json.dump(submission, out)
    print(f"{len(submission['submission'])} predictions in {options.out}")
    return 1 if problems else 0


def read_mapping(path):
    """reactive_all_mapping of a train_test_split file, for EPDMS over two stages."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if path.endswith(".json"):
        data = json.loads(text)
    else:
        import yaml

        data = yaml.safe_load(text)
    return data["reactive_all_mapping"] if isinstance(data, dict) else data


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    scenes = commands.add_parser("scenes", help="metric caches, or logs and maps, into a scene data set")
    scenes.add_argument("--cache", action="append", help="metric cache directory; twice: v1 and v2 of the same samples")
    scenes.add_argument("--logs", help="NAVSIM logs (navsim_logs/SPLIT)")
    scenes.add_argument("--maps", help="nuPlan maps (NUPLAN_MAPS_ROOT)")
    scenes.add_argument("--tokens", help="file of sample tokens to export; default all")
    scenes.add_argument("--out", required=True, help="new data set; an interrupted export is gone on with")
    scenes.add_argument("--shard-scenes", type=int, default=64, help="scenes per shard, and at most lost by an interruption")
    scenes.add_argument("--verify", type=int, default=0, metavar="N", help="score N scenes by NAVSIM and by Swerve, and compare")
    scenes.add_argument("--seed", type=int, default=0, help="of the scenes that --verify takes")
    scenes.add_argument("--swerve", default="swerve", help="the swerve binary, for --verify")
    scenes.add_argument("--navsim", help="NAVSIM checkout, where it is not installed")
    scenes.set_defaults(run=export)
    submission = commands.add_parser("submission", help="a submission pickle into JSON")
    submission.add_argument("file")
    submission.add_argument("--out", required=True)
    submission.add_argument("--name", help="of the candidate in the scores; default the team's")
    submission.add_argument("--mapping", help="YAML or JSON with reactive_all_mapping: EPDMS over two stages")
    submission.set_defaults(run=convert_submission)
    options = parser.parse_args(arguments)
    return options.run(options)


if __name__ == "__main__":
    sys.exit(main())
