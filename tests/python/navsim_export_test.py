"""tools/navsim_export.py on objects that have the attributes of NAVSIM's and nuPlan's classes, and nothing else of them.

Environment: SWERVE_BINARY. Ends with 77 (skipped) without grpcio.
"""

import contextlib
import io
import json
import lzma
import math
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
import types
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "tools")]
sys.dont_write_bytecode = True

try:
    import grpc  # noqa: F401
except ImportError as missing:
    print(f"skipped: {missing}; pip install grpcio protobuf")
    sys.exit(77)

import navsim_convert
import navsim_export
import navsim_submission
from scene_writer import SceneWriter
from swerve import SceneSet
from swerve import _messages as messages

BINARY = os.environ.get("SWERVE_BINARY", str(ROOT / "build/light/swerve"))


class Thing:
    """Attributes, as the pickle of a dataclass brings them."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Trajectory(Thing):
    def get_sampled_trajectory(self):
        return self._trajectory


class Polygon:
    geom_type = "Polygon"

    def __init__(self, xy, holes=()):
        self.exterior = Thing(coords=[*xy, xy[0]])
        self.interiors = [Thing(coords=[*hole, hole[0]]) for hole in holes]


def pose(x, y, heading):
    return Thing(x=x, y=y, heading=heading)


def pairs(ring):
    return list(zip(ring.xy[::2], ring.xy[1::2]))


def polygon_of(message):
    return Polygon(pairs(message.exterior), [pairs(ring) for ring in message.interiors])


def box(state, track):
    """Corners from the front left, counter-clockwise, as nuPlan's OrientedBox orders them."""
    c, s = math.cos(state.heading), math.sin(state.heading)
    corners = [(track.length / 2, track.width / 2), (-track.length / 2, track.width / 2),
               (-track.length / 2, -track.width / 2), (track.length / 2, -track.width / 2)]
    return Polygon([(state.x + c * u - s * v, state.y + s * u + c * v) for u, v in corners])


def ego_state(ego):
    car = Thing(rear_axle_velocity_2d=Thing(x=ego.vx, y=ego.vy), rear_axle_acceleration_2d=Thing(x=ego.ax, y=ego.ay),
                tire_steering_rate=ego.steering_rate, angular_velocity=ego.yaw_rate, angular_acceleration=ego.yaw_acceleration)
    return Thing(time_us=ego.time_us, rear_axle=pose(ego.rear_axle.x, ego.rear_axle.y, ego.rear_axle.heading),
                 tire_steering_angle=ego.steering_angle, dynamic_car_state=car)


TYPES = {number: name.upper() for name, number in navsim_convert.OBJECT_TYPES.items()}
MAPS = {number: name for name, number in navsim_convert.MAP_TYPES.items()}


def observation_of(resolved, samples, red_lights=()):
    maps, unique = [Thing(_tokens=[], _geometries=[]) for _ in range(samples)], {}
    for track in resolved.agents:
        for state in track.states:
            if state.index >= samples:
                continue
            maps[state.index]._tokens.append(track.token)
            maps[state.index]._geometries.append(box(state, track))
            unique.setdefault(track.token, Thing(
                tracked_object_type=Thing(name=TYPES[track.type]), velocity=Thing(x=state.vx, y=state.vy),
                box=Thing(length=track.length, width=track.width, height=track.height)))
    for index, (token, shape) in red_lights:
        maps[index]._tokens.append(token)
        maps[index]._geometries.append(shape)
    return Thing(_occupancy_maps=maps, _unique_objects=unique)


def cache_v1(scene):
    resolved = scene.resolved_v1
    return Thing(
        file_path=scene.id, ego_state=ego_state(scene.ego), observation=observation_of(resolved, 51),
        trajectory=Trajectory(_trajectory=[Thing(rear_axle=pose(p.x, p.y, p.heading)) for p in resolved.pdm_reference]),
        centerline=Thing(_discrete_path=[pose(p.x, p.y, p.heading) for p in resolved.centerline]),
        route_lane_ids=list(resolved.route_lane_ids),
        drivable_area_map=Thing(_tokens=[p.token for p in resolved.drivable_map],
                                _map_types=[Thing(name=MAPS[p.type]) for p in resolved.drivable_map],
                                _geometries=[polygon_of(p) for p in resolved.drivable_map]))


def cache_v2(scene):
    cache = cache_v1(scene)
    light = ("red_light_7", Polygon([(0.0, 0.0), (4.0, 0.0), (4.0, 4.0)]))
    cache.observation = observation_of(scene.resolved_v1, 41, [(0, light), (1, light)])
    cache.__dict__.update(
        timepoint=Thing(time_us=scene.ego.time_us), log_name="log", scene_type=Thing(name="ORIGINAL"),
        human_trajectory=Thing(poses=[[p.x, p.y, p.heading] for p in scene.gt]),
        past_human_trajectory=Trajectory(_trajectory=[ego_state(e) for e in [*scene.ego_past, scene.ego]]),
        map_parameters=Thing(map_name="sg-one-north"))
    return cache


def frame_of(token, second, ego, heading=0.3):
    """One frame of a log: the ego goes 4 m/s along its heading, a car 10 m before it."""
    along = 4.0 * second
    return {"token": token, "timestamp": 1_000_000 + int(second * 1e6), "log_name": "log", "map_location": "las_vegas",
            "ego2global_translation": [ego.x + along * math.cos(heading), ego.y + along * math.sin(heading), 0.0],
            "ego2global_rotation": [math.cos(heading / 2), 0.0, 0.0, math.sin(heading / 2)],
            "ego_dynamic_state": [4.0, 0.0, 0.1, 0.0], "driving_command": [1, 0, 0, 0], "roadblock_ids": ["1", "2", "1"],
            "traffic_lights": [(11, True)], "cams": {"CAM_F0": {"data_path": "log/CAM_F0/x.jpg"}},
            "anns": {"gt_boxes": [[10.0, 0.0, 0.0, 4.5, 1.9, 1.6, 0.1]], "gt_names": ["vehicle"],
                     "gt_velocity_3d": [[3.0, 0.0, 0.0]], "instance_tokens": ["i"], "track_tokens": ["car"]}}


def write_cache(directory, scene, cache):
    path = pathlib.Path(directory, "log", "unknown", scene.id, "metric_cache.pkl")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress(pickle.dumps(cache), preset=0))


def quietly(*arguments):
    """Exit code and stdout of the tool."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        try:
            code = navsim_export.main(list(arguments))
        except SystemExit as end:
            return end.code, out.getvalue()
    return code, out.getvalue()


class ExportTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        scenes = cls.folder.name + "/generated"
        subprocess.run([BINARY, "scenes", "generate", "--count", "3", "--seed", "5", "--out", scenes, "--threads", "1"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.scenes = list(SceneSet(scenes))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def setUp(self):
        self.dir = tempfile.mkdtemp(dir=self.folder.name)
        self.out = self.dir + "/out"

    def write(self, make, name="cache", scenes=None):
        for scene in scenes or self.scenes:
            write_cache(f"{self.dir}/{name}", scene, make(scene))
        return f"{self.dir}/{name}"

    def test_a_v1_cache_is_the_scene_that_the_scorer_reads(self):
        code, said = quietly("scenes", "--cache", self.write(cache_v1), "--out", self.out)
        self.assertEqual((code, said), (0, f"3 scenes in {self.out}, 0 samples left out\n"))
        for scene in self.scenes:
            got, want = SceneSet(self.out)[scene.id], scene.resolved_v1
            self.assertEqual(got.ego, scene.ego)
            self.assertEqual(got.recording, "log")
            for field in ("drivable_map", "route_lane_ids", "centerline", "pdm_reference"):
                self.assertEqual(list(getattr(got.resolved_v1, field)), list(getattr(want, field)), field)
            by_token = {agent.token: agent for agent in got.resolved_v1.agents}
            for track in want.agents:
                agent = by_token[track.token]
                self.assertEqual([s.index for s in agent.states], [s.index for s in track.states])
                for a, b in zip(agent.states, track.states):
                    self.assertLess(abs(a.x - b.x) + abs(a.y - b.y), 1e-6)
                    self.assertLess(abs(math.sin(a.heading - b.heading)), 1e-6)
        listed = subprocess.run([BINARY, "scenes", "ls", self.out], check=True, capture_output=True, text=True).stdout
        self.assertEqual(len(listed.splitlines()), 3)

    def test_both_versions_of_a_sample_make_one_complete_scene(self):
        caches = ["--cache", self.write(cache_v1, "v1"), "--cache", self.write(cache_v2, "v2")]
        self.assertEqual(quietly("scenes", *caches, "--out", self.out)[0], 0)
        scene = SceneSet(self.out)[self.scenes[0].id]
        self.assertEqual(list(scene.gt), list(self.scenes[0].gt))
        self.assertEqual(list(scene.resolved_v2.human), list(scene.gt))
        self.assertEqual(list(scene.ego_past), list(self.scenes[0].ego_past)[-3:])
        self.assertEqual([list(t.tokens) for t in scene.resolved_v2.red_lights], [["red_light_7"]] * 2 + [[]] * 39)
        self.assertEqual(list(scene.resolved_v2.red_light_polygons[0].exterior.xy), [0, 0, 4, 0, 4, 4])
        self.assertNotIn("red_light_7", [a.token for a in scene.resolved_v2.agents])
        self.assertEqual(scene.location, "sg-one-north")
        subprocess.run([BINARY, "scenes", "validate", self.out], check=True, capture_output=True)

    def test_a_log_adds_what_the_cache_lacks(self):
        first = self.scenes[0]
        frames = [frame_of(first.id if i == 3 else f"t{i}", 0.5 * (i - 3), first.ego.rear_axle) for i in range(14)]
        os.makedirs(self.dir + "/logs")
        pathlib.Path(self.dir, "logs", "log.pkl").write_bytes(pickle.dumps(frames))
        code, _ = quietly("scenes", "--cache", self.write(cache_v1, scenes=[first]), "--logs", self.dir + "/logs",
                          "--out", self.out)
        self.assertEqual(code, 0)
        scene = SceneSet(self.out)[first.id]
        self.assertEqual(scene.ego, first.ego)  # the cache's
        self.assertEqual(scene.command, navsim_convert.LEFT)
        for i, p in enumerate(scene.gt, 1):  # 2 m every half second, straight on
            self.assertAlmostEqual(p.x, 2.0 * i, places=6)
            self.assertAlmostEqual(p.y, 0.0, places=6)
            self.assertAlmostEqual(p.heading, 0.0, places=9)
        self.assertEqual([e.time_us for e in scene.ego_past], [-500_000, 0, 500_000])
        self.assertEqual([s.index for s in scene.tracks[0].states], list(range(11)))
        self.assertEqual([s.index for s in scene.past_tracks[0].states], [-3, -2, -1, 0])
        state = scene.tracks[0].states[0]
        self.assertAlmostEqual(state.x, first.ego.rear_axle.x + 10 * math.cos(0.3), places=6)
        self.assertAlmostEqual(state.heading, 0.4, places=9)
        self.assertAlmostEqual(state.vy, 3 * math.sin(0.3), places=9)
        self.assertEqual(list(scene.route_roadblock_ids), ["1", "2"])
        self.assertEqual((scene.traffic_lights[10].lights[0].lane_connector, scene.traffic_lights[10].lights[0].red), ("11", True))
        self.assertEqual(scene.images[0].path, "log/CAM_F0/x.jpg")

    def test_a_map_is_taken_apart_into_roads(self):
        class Layer(Thing):
            def __hash__(self):
                return hash(self.name)

            def __eq__(self, other):
                return self.name == other.name

        layers = Thing(**{name: Layer(name=name) for name in ("ROADBLOCK", "ROADBLOCK_CONNECTOR", "INTERSECTION", "CARPARK_AREA")})
        square = Polygon([(0.0, 0.0), (9.0, 0.0), (9.0, 9.0)])
        lane = Thing(id="5", polygon=square, incoming_edges=[], outgoing_edges=[Thing(id="6")], speed_limit_mps=11.5,
                     baseline_path=Thing(discrete_path=[pose(0.0, 0.0, 0.0), pose(9.0, 0.0, 0.0)]))
        block = Thing(id="1", polygon=square, interior_edges=[lane], incoming_edges=[], outgoing_edges=[Thing(id="2")])
        turn = Thing(id="6", polygon=square, incoming_edges=[lane], outgoing_edges=[], speed_limit_mps=None,
                     baseline_path=lane.baseline_path)
        connector = Thing(id="2", polygon=square, interior_edges=[turn], incoming_edges=[block], outgoing_edges=[])
        api = Thing(get_proximal_map_objects=lambda *_: {layers.ROADBLOCK: [block], layers.ROADBLOCK_CONNECTOR: [],
                                                         layers.INTERSECTION: [Thing(id="8", polygon=square)], layers.CARPARK_AREA: []},
                    get_map_object=lambda i, layer: connector if (i, layer.name) == ("2", "ROADBLOCK_CONNECTOR") else None)
        scene = messages.Scene(route_roadblock_ids=["1", "2"])  # the connector lies beyond the radius
        navsim_convert.add_map(scene, api, layers, None)
        self.assertEqual({(p.token, MAPS[p.type]) for p in scene.map.polygons},
                         {("1", "ROADBLOCK"), ("5", "LANE"), ("2", "ROADBLOCK_CONNECTOR"), ("6", "LANE_CONNECTOR"), ("8", "INTERSECTION")})
        lanes = {lane.id: lane for lane in scene.map.lanes}
        self.assertEqual((lanes["5"].roadblock, lanes["5"].speed_limit, list(lanes["5"].outgoing)), ("1", 11.5, ["6"]))
        self.assertFalse(lanes["6"].HasField("speed_limit"))

    def test_an_interrupted_export_goes_on_and_a_broken_sample_costs_itself(self):
        caches = self.write(cache_v1)
        broken = pathlib.Path(caches, "log", "unknown", self.scenes[1].id, "metric_cache.pkl")
        broken.write_bytes(b"no lzma")
        calls = []

        def stops(path):
            calls.append(path)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return lzma.open(path).read() and pickle.loads(lzma.open(path).read())

        load, navsim_export.load_cache = navsim_export.load_cache, stops
        try:
            with self.assertRaises(KeyboardInterrupt):
                quietly("scenes", "--cache", caches, "--out", self.out, "--shard-scenes", "1")
        finally:
            navsim_export.load_cache = load
        self.assertFalse(os.path.exists(self.out + "/index.jsonl"))
        with open(self.out + "/export.jsonl", "a", encoding="utf-8") as journal:
            journal.write('{"shard": "scenes-000')  # cut off while it was written
        code, said = quietly("scenes", "--cache", caches, "--out", self.out, "--shard-scenes", "1")
        self.assertEqual((code, said), (1, f"2 scenes in {self.out}, 1 samples left out\n"))
        self.assertEqual(set(SceneSet(self.out).ids), {self.scenes[0].id, self.scenes[2].id})
        subprocess.run([BINARY, "scenes", "ls", self.out], check=True, capture_output=True)
        self.assertIn("finished data set", quietly("scenes", "--cache", caches, "--out", self.out)[0])

    def test_an_observation_of_another_length_is_refused(self):
        cache = cache_v1(self.scenes[0])
        del cache.observation._occupancy_maps[50]
        with self.assertRaisesRegex(navsim_convert.Unusable, "51"):
            navsim_convert.add_cache(messages.Scene(), cache, "t", "log")

    def test_verify_compares_with_the_installed_scorer(self):
        caches = self.write(cache_v1)
        self.assertEqual(quietly("scenes", "--cache", caches, "--out", self.out)[0], 0)
        results, shift = {}, [0.0]

        def pdm_score(metric_cache, model_trajectory, **_):
            scene = SceneSet(self.out)[metric_cache.file_path]
            submission, scores = self.dir + "/s.json", self.dir + "/scores.json"
            pathlib.Path(submission).write_text(json.dumps({"schema": 1, "submission": {scene.id: model_trajectory}}))
            subprocess.run([BINARY, "score", "--scenes", self.out, "--submission", submission, "--out", scores],
                           check=True, stdout=subprocess.DEVNULL)
            row = json.loads(pathlib.Path(scores).read_text())["scenes"][0]["candidates"][0]["v1"]
            results[scene.id] = row["PDMS"]
            return Thing(**{name: row[ours] + shift[0] * (ours == "EP") for name, ours in navsim_export.V1.items()})

        def module(name, **attributes):
            parts = name.split(".")
            for i in range(1, len(parts) + 1):
                sys.modules.setdefault(".".join(parts[:i]), types.ModuleType(".".join(parts[:i]))).__path__ = []
            sys.modules[name].__dict__.update(attributes)

        before = dict(sys.modules)
        self.addCleanup(lambda: [sys.modules.pop(m) for m in set(sys.modules) - set(before)])
        planner = "navsim.planning.simulation.planner.pdm_planner"
        module("numpy", array=lambda plan, dtype: [list(p) for p in plan], float64=float)
        module("navsim.common.dataclasses", Trajectory=lambda poses: poses)
        module("navsim.evaluate.pdm_score", pdm_score=pdm_score)
        module(planner + ".scoring.pdm_scorer", PDMScorer=lambda sampling: None)
        module(planner + ".simulation.pdm_simulator", PDMSimulator=lambda sampling: None)
        module("nuplan.planning.simulation.trajectory.trajectory_sampling", TrajectorySampling=lambda **_: None)
        options = types.SimpleNamespace(out=self.out, verify=2, seed=0, swerve=BINARY)
        samples = types.SimpleNamespace(caches=navsim_export.find_caches([caches]))
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.assertEqual(navsim_export.verify(options, samples, [s.id for s in self.scenes]), 0)
            shift[0] = 1e-5
            self.assertEqual(navsim_export.verify(options, samples, [s.id for s in self.scenes]), 2)
        self.assertEqual(len(results), 2)
        self.assertIn("verified 2 scenes, 14 values: 0 differ", out.getvalue())
        self.assertIn("v1 EP: official", out.getvalue())


class NumpyArray:
    """Pickles as numpy.ndarray of float32 does."""

    def __init__(self, rows, core):
        self.rows, self.core = rows, core

    def __reduce__(self):
        import struct

        multiarray, numpy = sys.modules[self.core + ".multiarray"], sys.modules["numpy"]
        flat = [v for row in self.rows for v in row]
        raw = struct.pack(f"<{len(flat)}f", *flat)
        return multiarray._reconstruct, (numpy.ndarray, (0,), b"b"), (1, (len(self.rows), 3), Dtype(), False, raw)


class Dtype:
    def __reduce__(self):
        return sys.modules["numpy"].dtype, ("f4", False, True), (3, "<", None, None, None, -1, -1, 0)


class Evil:
    def __init__(self, function, *arguments):
        self.what = function, arguments

    def __reduce__(self):
        return self.what


class SubmissionTest(unittest.TestCase):
    def setUp(self):
        before = dict(sys.modules)

        def restore():
            for name in set(sys.modules) - set(before):
                del sys.modules[name]
            sys.modules.update(before)

        self.addCleanup(restore)

        def module(name, **attributes):
            sys.modules[name] = types.ModuleType(name)
            for key, value in attributes.items():
                value.__module__, value.__qualname__ = name, key
                setattr(sys.modules[name], key, value)

        for package in ("navsim", "navsim.common", "nuplan", "nuplan.planning", "nuplan.planning.simulation",
                        "nuplan.planning.simulation.trajectory", "numpy.core", "numpy._core"):
            module(package)
        module("numpy", ndarray=type("ndarray", (), {}), dtype=lambda *_: None)
        for core in ("numpy.core", "numpy._core"):
            module(core + ".multiarray", _reconstruct=lambda *_: None)
        module("navsim.common.dataclasses", Trajectory=type("Trajectory", (Thing,), {}))
        module("nuplan.planning.simulation.trajectory.trajectory_sampling", TrajectorySampling=type("TrajectorySampling", (Thing,), {}))

    @staticmethod
    def trajectory(rows, core="numpy.core", interval=0.5):
        sampling = sys.modules["nuplan.planning.simulation.trajectory.trajectory_sampling"].TrajectorySampling(
            num_poses=len(rows), time_horizon=4.0, interval_length=interval)
        return sys.modules["navsim.common.dataclasses"].Trajectory(poses=NumpyArray(rows, core), trajectory_sampling=sampling)

    @staticmethod
    def read(data):
        return navsim_submission.read_submission(io.BytesIO(pickle.dumps(data)))

    def test_both_kinds_of_submission(self):
        rows = [[0.5 * i, 0.25, -0.125] for i in range(8)]
        one, problems = self.read({"team_name": "us", "predictions": [{"a": self.trajectory(rows)}]})
        self.assertEqual((one, problems), ({"schema": 1, "name": "us", "submission": {"a": rows}}, []))
        two, _ = self.read({"first_stage_predictions": [{"a": self.trajectory(rows)}],
                            "second_stage_predictions": [{"b": self.trajectory(rows, "numpy._core")}]})
        self.assertEqual((sorted(two["submission"]), two["name"]), (["a", "b"], "submission"))

    def test_what_cannot_be_scored_is_named_and_kept_without_poses(self):
        got, problems = self.read({"predictions": [{"a": self.trajectory([[float("nan"), 0.0, 0.0]] * 8),
                                                    "b": self.trajectory([[0.0] * 3] * 40, interval=0.1), "c": 3}]})
        self.assertEqual(got["submission"], {"a": [[None, 0.0, 0.0]] * 8, "b": [], "c": []})
        self.assertEqual([p[:2] for p in problems], ["b:", "c:"])

    def test_nothing_but_trajectories_is_admitted(self):
        marker = os.path.join(tempfile.mkdtemp(), "ran")
        for evil in (Evil(os.system, f"touch {marker}"), Evil(eval, f"open({marker!r}, 'w')"), Evil(getattr, 3, "real"),
                     Evil(subprocess.Popen, ["touch", marker]), pathlib.Path("x")):
            for data in ({"predictions": [{"a": evil}]}, evil, {"predictions": [{"a": self.trajectory([[0.0] * 3] * 8)}], "x": evil}):
                with self.assertRaisesRegex(navsim_submission.RefusedPickle, "was not run"):
                    self.read(data)
        self.assertFalse(os.path.exists(marker))

    def test_damaged_pickles_are_refused(self):
        whole = pickle.dumps({"predictions": [{"a": self.trajectory([[0.0] * 3] * 8)}]})
        for end in range(0, len(whole), 7):
            with self.assertRaises(navsim_submission.RefusedPickle):
                navsim_submission.read_submission(io.BytesIO(whole[:end]))
        for i in range(len(whole)):  # whatever one changed byte does, it is an answer or a refusal
            changed = bytearray(whole)
            changed[i] ^= 0x15
            with contextlib.suppress(navsim_submission.RefusedPickle):
                navsim_submission.read_submission(io.BytesIO(bytes(changed)))
        huge = Evil(sys.modules["numpy.core.multiarray"]._reconstruct, sys.modules["numpy"].ndarray, (0,), b"b")
        huge.__class__.__reduce__ = lambda self: (*self.what, (1, (1 << 40, 3), Dtype(), False, b""))
        try:
            with self.assertRaisesRegex(navsim_submission.RefusedPickle, "shape"):
                self.read({"predictions": [{"a": huge}]})
        finally:
            huge.__class__.__reduce__ = lambda self: self.what
        for data in ([], {"team_name": "x"}, {"predictions": []}, {"predictions": 3}):
            with self.assertRaises(navsim_submission.RefusedPickle):
                self.read(data)

    def test_the_command_writes_what_swerve_reads(self):
        folder = tempfile.mkdtemp()
        rows = [[0.5 * i, 0.0, 0.0] for i in range(1, 9)]
        pathlib.Path(folder, "s.pkl").write_bytes(pickle.dumps({"predictions": [{"a": self.trajectory(rows)}]}))
        pathlib.Path(folder, "split.json").write_text(json.dumps({"reactive_all_mapping": [["a", "b", [["c", "d"]]]]}))
        self.assertEqual(quietly("submission", folder + "/s.pkl", "--out", folder + "/s.json", "--mapping", folder + "/split.json")[0], 0)
        written = json.loads(pathlib.Path(folder, "s.json").read_text())
        self.assertEqual(written["submission"], {"a": rows})
        self.assertEqual(written["mapping"], [["a", "b", [["c", "d"]]]])
        pathlib.Path(folder, "bad.pkl").write_bytes(b"nothing")
        self.assertIn("bad.pkl", quietly("submission", folder + "/bad.pkl", "--out", folder + "/x.json")[0])
        self.assertFalse(os.path.exists(folder + "/x.json"))


class WriterTest(unittest.TestCase):
    def test_the_same_id_twice_is_refused(self):
        writer = SceneWriter(tempfile.mkdtemp() + "/out")
        writer.add("k", messages.Scene(id="a"))
        with self.assertRaisesRegex(ValueError, "a is there"):
            writer.add("l", messages.Scene(id="a"))


if __name__ == "__main__":
    unittest.main()
