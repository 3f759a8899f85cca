"""The Python client and the reward functions against the real reward service, over gRPC and HTTP.

Environment: SWERVE_BINARY, and PROTOC where protoc is not on the path. Ends with 77 (skipped) without grpcio.
"""

import importlib.util
import inspect
import json
import os
import pathlib
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
import types
import unittest
import urllib.error
import urllib.request
from concurrent import futures

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))
sys.dont_write_bytecode = True

try:
    import grpc
    from google.protobuf import descriptor_pb2
except ImportError as missing:
    print(f"skipped: {missing}; pip install grpcio protobuf")
    sys.exit(77)

import swerve
from swerve import Candidate, InfrastructureError, RequestError, RewardClient, SceneSet, Tls, parse_pose3
from swerve import _messages as messages
from swerve.ms_swift import register
from swerve.rewards import TextReward
from swerve.trl import RewardFunction

BINARY = os.environ.get("SWERVE_BINARY", str(ROOT / "build/light/swerve"))
CLOSED = "127.0.0.1:1"  # nobody listens there


def text_of(poses):
    triples = ",".join("[{:.3f},{:.3f},{:.4f}]".format(*pose) for pose in poses)
    return f"<think>the road is free</think><answer>{triples}</answer>"


def as_written(poses):
    return list(parse_pose3(text_of(poses)).poses)


class Service:
    """One reward service for all tests, with a small data set."""

    @classmethod
    def start(cls):
        cls.folder = tempfile.TemporaryDirectory()
        scenes = cls.folder.name + "/scenes"
        subprocess.run([BINARY, "scenes", "generate", "--count", "4", "--seed", "5", "--out", scenes, "--threads", "1"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.process = subprocess.Popen(
            [BINARY, "reward", "--scenes", scenes, "--port", "0", "--http-port", "0",
             "--set", "reward.threads=2", "--set", "reward.max_message_mb=1"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = cls.process.stdout.readline()
        assert line, "the reward service did not start"
        cls.addresses = json.loads(line)
        cls.scenes = SceneSet(scenes)
        cls.gt = {s.id: [(p.x, p.y, p.heading) for p in s.gt] for s in cls.scenes}

    @classmethod
    def stop(cls):
        cls.process.terminate()
        code = cls.process.wait(60)
        cls.process.stdout.close()
        cls.folder.cleanup()
        assert code == 0, f"the reward service ended with {code}"


def setUpModule():
    Service.start()


def tearDownModule():
    Service.stop()


def post(path, body):
    request = urllib.request.Request(Service.addresses["http"] + path, json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


class ProtosTest(unittest.TestCase):
    def test_committed_protos_are_those_of_the_service(self):
        with tempfile.NamedTemporaryFile() as out:
            subprocess.run([os.environ.get("PROTOC", "protoc"), "-I", str(ROOT / "proto"), "--include_imports",
                            "--descriptor_set_out=" + out.name, "swerve/v1/reward_batch.proto"], check=True)
            now = descriptor_pb2.FileDescriptorSet.FromString(out.read())
        committed = descriptor_pb2.FileDescriptorSet.FromString((ROOT / "python/swerve/protos.bin").read_bytes())
        self.assertEqual({f.name for f in now.file}, {f.name for f in committed.file})
        by_name = {f.name: f for f in committed.file}
        for file in now.file:
            if file.name.startswith("swerve/"):
                self.assertEqual(file, by_name[file.name], "run python/generate.sh")


class ClientTest(unittest.TestCase):
    def setUp(self):
        self.client = RewardClient(Service.addresses["grpc"], timeout=60)
        self.addCleanup(self.client.close)
        self.id = Service.scenes.ids[0]

    def test_grpc_and_http_give_the_same_numbers(self):
        self.assertTrue(self.client.healthy())
        with urllib.request.urlopen(Service.addresses["http"] + "/health", timeout=60) as answer:
            self.assertEqual(json.load(answer), {"status": "ok"})
        for scene_id, gt in Service.gt.items():
            stay = [(0.0, 0.0, 0.0)] * 8
            wild = [(x, y + 4.0 * i, h) for i, (x, y, h) in enumerate(gt)]
            scores = self.client.score(scene_id, [gt, stay, wild])
            self.assertGreater(scores[0].pdms, 0.8)
            self.assertGreater(scores[0].pdms, scores[2].pdms)
            status, answers = post("/score_group", {"token": scene_id, "poses": [gt, stay, wild]})
            self.assertEqual(status, 200)
            for score, answer in zip(scores, answers):
                self.assertEqual((score.pdms, score.nc, score.dac, score.ep, score.ttc),
                                 (answer["pdms"], answer["no_at_fault_collisions"], answer["drivable_area_compliance"],
                                  answer["ego_progress"], answer["time_to_collision_within_bound"]))
            status, one = post("/score", {"token": scene_id, "poses": wild, "verbose": True})
            self.assertEqual((status, one["pdms"], one["token"]), (200, scores[2].pdms, scene_id))

    def test_groups_in_one_call_are_as_if_asked_alone(self):
        ids = list(Service.gt)
        groups = [swerve.Group(i, [Service.gt[i], [(0, 0, 0)] * 8], weights=(1, 0, 0)) for i in ids]
        groups.insert(1, swerve.Group("nowhere", [Service.gt[ids[0]]]))
        with RewardClient(Service.addresses["grpc"]) as client:
            answers = client.score_groups(groups)
            self.assertEqual(client.score_groups([]), [])
            for group, answer in zip(groups, answers):
                if group.scene == "nowhere":
                    self.assertIsInstance(answer, RequestError)
                    self.assertEqual(answer.code, "NOT_FOUND")
                else:
                    self.assertEqual(answer, client.score(group.scene, group.candidates, weights=group.weights))

    def test_scene_inline_is_the_scene_by_id(self):
        scene = Service.scenes[self.id]
        by_id = self.client.score(self.id, [Service.gt[self.id]])
        self.assertEqual(by_id, self.client.score(scene, [Service.gt[self.id]]))
        self.assertEqual(by_id, self.client.score(scene.SerializeToString(), [Service.gt[self.id]]))

    def test_epdms_needs_scenes_of_its_edition(self):
        gt = Service.gt[self.id]
        with self.assertRaises(RequestError) as refused:
            self.client.score(self.id, [gt], pdm_rules="v2")
        self.assertIn("swerve scenes resolve --v2", str(refused.exception))
        with self.assertRaises(ValueError):
            self.client.score(self.id, [gt], pdm_rules="2")
        with tempfile.TemporaryDirectory() as folder:
            copy = pathlib.Path(folder) / "scenes"
            shutil.copytree(Service.folder.name + "/scenes", copy)
            subprocess.run([BINARY, "scenes", "resolve", "--v2", copy], check=True, stdout=subprocess.DEVNULL)
            scene = SceneSet(str(copy))[self.id]
        before = Candidate(gt, prev_poses=[(x + 0.1, y, h) for x, y, h in gt])
        scores = self.client.score(scene, [gt, before], weights=(1, 0, 0), pdm_rules="v2")
        for score in scores:
            self.assertEqual(score.total, score.epdms)
            self.assertGreater(score.epdms, 0.5)
            self.assertIn(score.lk, (0.0, 1.0))
            self.assertEqual(score.tlc, 1.0)
            self.assertIsNone(score.ec)  # the scene has no previous frame
        v1 = self.client.score(scene, [gt], pdm_rules="v1")[0]
        self.assertIsNone(v1.epdms)
        self.assertEqual(v1, self.client.score(self.id, [gt])[0])

    def test_reward_functions_and_their_terms(self):
        scene = Service.scenes[self.id]
        scene.label = 3  # RECOVERY
        gt = Service.gt[self.id]
        beside = [(x, y + 1.0, h) for x, y, h in gt]
        rules = {"functions": ["spanvla"], "spanvla": {"w_rec": 2.0, "lambda_cot": 0.0}}
        scores = self.client.score(scene, [gt, beside], rules=rules)
        self.assertEqual([s.terms["recovery"] for s in scores], [2.0, 1.5])  # 2 (1 - 1/4)
        self.assertEqual([s.terms["reasoning"] for s in scores], [0.0, 0.0])
        self.assertAlmostEqual(scores[0].total, scores[0].traj + scores[0].fmt + scores[0].goal + 2.0)
        message = messages.RewardRules(functions=["adaptive_think"])
        both = [Candidate(gt, "<think>a</think>"), Candidate(gt, "<think></think>")]
        self.assertEqual([s.terms for s in self.client.score(self.id, both, rules=message)],
                         [{"adaptive_think": 0.0}, {"adaptive_think": 1.0 if scores[0].pdms >= 0.9 else 0.0}])
        self.assertEqual(self.client.score(self.id, [gt], rules={})[0].terms, {})
        with self.assertRaisesRegex(RequestError, "known: spanvla, adaptive_think"):
            self.client.score(self.id, [gt], rules={"functions": ["other"]})
        with self.assertRaisesRegex(ValueError, "w_negg"):
            self.client.score(self.id, [gt], rules={"spanvla": {"w_negg": 1}})
        reward = TextReward(Service.addresses["grpc"], rules=rules)
        self.assertEqual(len(reward.rewards([self.id], [text_of(gt)])), 1)

    def test_a_bad_trajectory_is_an_outcome(self):
        short, nan = Service.gt[self.id][:7], [(float("nan"), 0.0, 0.0)] * 8
        unparsed = parse_pose3("I do not know")
        scores = self.client.score(self.id, [short, nan, unparsed])
        self.assertEqual([s.invalid for s in scores], ["WRONG_SHAPE", "NOT_FINITE", "UNPARSED"])
        self.assertEqual([s.traj for s in scores], [0, 0, 0])
        self.assertFalse(scores[0].valid)

    def test_facts_come_along(self):
        gt = Service.gt[self.id]
        far = [(x, y + 60.0, h) for x, y, h in gt]
        self.assertTrue(self.client.score(self.id, [far])[0].message.facts.HasField("off_road"))

    def test_what_can_never_be_answered_is_not_tried_again(self):
        slept = []
        client = RewardClient(Service.addresses["grpc"], timeout=60, sleep=slept.append)
        with self.assertRaisesRegex(RequestError, "NOT_FOUND.*nowhere"):
            client.score("nowhere", [Service.gt[self.id]])
        with self.assertRaisesRegex(RequestError, "RESOURCE_EXHAUSTED"):  # over reward.max_message_mb
            client.score(self.id, [Candidate(Service.gt[self.id], "x" * (2 << 20))])
        with self.assertRaisesRegex(RequestError, "INVALID_ARGUMENT.*weight"):
            client.score(self.id, [Service.gt[self.id]], weights=(float("nan"), 0, 0))
        self.assertEqual(slept, [])
        status, answer = post("/score", {"token": "nowhere", "poses": Service.gt[self.id]})
        self.assertEqual((status, answer["error"]["code"]), (404, "NOT_FOUND"))

    def test_a_service_that_is_away_is_an_error_in_time(self):
        slept = []
        client = RewardClient(CLOSED, timeout=0.5, sleep=slept.append)
        with self.assertRaisesRegex(InfrastructureError, CLOSED):
            client.score(self.id, [Service.gt[self.id]])
        self.assertFalse(client.healthy(timeout=0.2))

    def test_survives_pickling(self):
        copy = pickle.loads(pickle.dumps(self.client))
        self.assertEqual(copy.score(self.id, [Service.gt[self.id]]), self.client.score(self.id, [Service.gt[self.id]]))


class RetryTest(unittest.TestCase):
    """A service that refuses twice with a hint and is away once, then answers."""

    def test_refusals_are_tried_again_after_the_delay_asked_for(self):
        calls = []

        def handle(request, context):
            calls.append(request)
            if len(calls) <= 2:
                info = messages.RetryInfo()
                info.retry_delay.seconds = 3
                details = messages.RpcStatus(code=8)
                details.details.add(type_url="type.googleapis.com/google.rpc.RetryInfo", value=info.SerializeToString())
                context.set_trailing_metadata((("grpc-status-details-bin", details.SerializeToString()),))
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "queue full")
            if len(calls) == 3:
                context.abort(grpc.StatusCode.UNAVAILABLE, "shutting down")
            return b""

        server = grpc.server(futures.ThreadPoolExecutor(1))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
            "swerve.v1.RewardService", {"ScoreGroup": grpc.unary_unary_rpc_method_handler(handle)}),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self.addCleanup(server.stop, None)
        slept = []
        client = RewardClient(f"127.0.0.1:{port}", timeout=60, sleep=slept.append)
        self.assertEqual(client.score("a", []), [])
        self.assertEqual(len(calls), 4)
        self.assertTrue(all(3 <= s <= 4.5 for s in slept[:2]), slept)
        self.assertLess(slept[2], 1)


    def test_poses_that_an_older_service_passes_over_are_no_score_of_zero(self):
        def handle(request, context):
            reply = messages.ScoreGroupReply()
            for _ in messages.ScoreGroupRequest.FromString(request).candidates:
                reply.rewards.add(invalid=4)  # UNPARSED, as where `poses` alone is known
            return reply.SerializeToString()

        def handle_groups(request, context):
            reply = messages.ScoreGroupsReply()
            for group in messages.ScoreGroupsRequest.FromString(request).groups:
                reply.answers.add().reply.ParseFromString(handle(group.SerializeToString(), context))
            return reply.SerializeToString()

        server = grpc.server(futures.ThreadPoolExecutor(1))
        unary = grpc.unary_unary_rpc_method_handler
        server.add_generic_rpc_handlers((
            grpc.method_handlers_generic_handler("swerve.v1.RewardService", {"ScoreGroup": unary(handle)}),
            grpc.method_handlers_generic_handler("swerve.v1.RewardBatchService", {"ScoreGroups": unary(handle_groups)})))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self.addCleanup(server.stop, None)
        client = RewardClient(f"127.0.0.1:{port}", timeout=60)
        plan = [(float(i), 0.0, 0.0) for i in range(8)]
        with self.assertRaisesRegex(RequestError, "older than this client"):
            client.score("a", [plan])
        none, failed, passed_over = client.score_groups(
            [swerve.Group("a", [[]]), swerve.Group("a", [Candidate(plan, parse="FAILED")]), swerve.Group("a", [[], plan])])
        self.assertEqual([none[0].invalid, failed[0].invalid], ["UNPARSED", "UNPARSED"])
        self.assertIsInstance(passed_over, RequestError)

    def test_groups_without_room_are_sent_again_alone(self):
        calls = []

        def handle(request, context):
            groups = messages.ScoreGroupsRequest.FromString(request).groups
            calls.append([group.scene_id for group in groups])
            reply = messages.ScoreGroupsReply()
            for group in groups:
                answer = reply.answers.add()
                if group.scene_id == "full" and len(calls) < 3:
                    info = messages.RetryInfo()
                    info.retry_delay.seconds = 2
                    answer.error.code = 8
                    answer.error.details.add(type_url="type.googleapis.com/google.rpc.RetryInfo", value=info.SerializeToString())
                else:
                    answer.reply.rewards.add(total=len(calls))
            return reply.SerializeToString()

        server = grpc.server(futures.ThreadPoolExecutor(1))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
            "swerve.v1.RewardBatchService", {"ScoreGroups": grpc.unary_unary_rpc_method_handler(handle)}),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self.addCleanup(server.stop, None)
        slept = []
        client = RewardClient(f"127.0.0.1:{port}", timeout=60, sleep=slept.append)
        groups = [swerve.Group("a", [[]]), swerve.Group("full", [[]]), swerve.Group("b", [[]])]
        self.assertEqual([answer[0].total for answer in client.score_groups(groups)], [1, 3, 1])
        self.assertEqual(calls, [["a", "full", "b"], ["full"], ["full"]])
        self.assertTrue(all(2 <= s <= 3 for s in slept), slept)
        calls.clear()
        refused = client.score_groups(groups, timeout=1)[1]  # it says 2 s
        self.assertIsInstance(refused, InfrastructureError)
        self.assertEqual(len(calls), 1)


class OwnService:
    """A reward service with arguments of its own, and the addresses it says."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [BINARY, "reward", "--port", "0", "--http-port", "0", "--metrics-port", "0", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.addresses = json.loads(line) if line else {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate(timeout=60)


class LimitsTest(unittest.TestCase):
    def test_calls_beyond_the_rate_are_refused_and_tried_again(self):
        scene, gt = Service.scenes[Service.scenes.ids[0]], Service.gt[Service.scenes.ids[0]]
        with OwnService("--set", "limits.calls_per_second=2") as service:
            slept = []

            def sleep(seconds):
                slept.append(seconds)
                time.sleep(seconds)

            with RewardClient(service.addresses["grpc"], timeout=60, sleep=sleep) as client:
                self.assertEqual(len([client.score(scene, [gt]) for _ in range(6)]), 6)
            self.assertTrue(slept)
            # In time, or an error of ours: never a refused request, never a score.
            with RewardClient(service.addresses["grpc"], timeout=0.2) as client:
                with self.assertRaisesRegex(InfrastructureError, "rate limit"):
                    for _ in range(20):
                        client.score(scene, [gt])

    def test_http_beyond_the_rate_is_429(self):
        with OwnService("--set", "limits.http_requests_per_second=0.001") as service:  # one in the life of this test
            url = service.addresses["http"] + "/health"
            with urllib.request.urlopen(url, timeout=60) as answer:
                self.assertEqual(answer.status, 200)
            with self.assertRaises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(url, timeout=60)
            with refused.exception as error:
                self.assertEqual((error.code, error.headers["Retry-After"]), (429, "1"))
                self.assertIn("limits.http_requests_per_second", json.load(error)["error"]["message"])

    def test_outside_loopback_only_with_tls_or_insecure(self):
        outside = ("--set", "telemetry.listen=0.0.0.0")
        with OwnService(*outside) as service:
            self.assertEqual(service.addresses, {})
            self.assertEqual(service.process.wait(60), 2)
            self.assertIn("--insecure", service.process.stderr.read())
        with OwnService(*outside, "--insecure") as service:
            with RewardClient(service.addresses["grpc"], timeout=60) as client:
                self.assertTrue(client.healthy(timeout=20))


class TlsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        for name in ("ours", "theirs"):
            subprocess.run([BINARY, "certs", "init", f"{cls.folder.name}/{name}"], check=True, stdout=subprocess.DEVNULL)
        cls.service = OwnService("--set", f"security.certs={cls.folder.name}/ours")
        cls.scene = Service.scenes[Service.scenes.ids[0]]
        cls.gt = Service.gt[cls.scene.id]

    @classmethod
    def tearDownClass(cls):
        cls.service.__exit__()
        cls.folder.cleanup()

    def client(self, tls, timeout=1.0):
        client = RewardClient(self.service.addresses["grpc"], timeout=timeout, tls=tls)
        self.addCleanup(client.close)
        return client

    def test_with_a_certificate_of_the_same_authority(self):
        client = self.client(Tls.of_directory(self.folder.name + "/ours"), timeout=60)
        self.assertEqual(len(client.score(self.scene, [self.gt])), 1)
        self.assertTrue(client.healthy(timeout=20))
        copy = pickle.loads(pickle.dumps(client))
        self.assertEqual(copy.score(self.scene, [self.gt]), client.score(self.scene, [self.gt]))
        os.environ["SWERVE_CERTS"] = self.folder.name + "/ours"
        self.addCleanup(os.environ.pop, "SWERVE_CERTS")
        self.assertIsNotNone(TextReward(self.service.addresses["grpc"]).client.tls)

    def test_strangers_get_nothing(self):
        ours, theirs = (Tls.of_directory(f"{self.folder.name}/{name}") for name in ("ours", "theirs"))
        mixed = Tls(ours.authority, theirs.certificate, theirs.key)
        role = Tls(ours.authority, ours.certificate, ours.key, server_name="teacher.swerve")
        for tls in (None, theirs, mixed, role):
            with self.assertRaises(InfrastructureError):
                self.client(tls).score(self.scene, [self.gt])
        with self.assertRaises(FileNotFoundError):
            self.client(Tls.of_directory(self.folder.name + "/nowhere")).score(self.scene, [self.gt])


class RewardFunctionsTest(unittest.TestCase):
    """Each called as its trainer calls it."""

    def setUp(self):
        self.ids = Service.scenes.ids[:2]
        self.good = [text_of(Service.gt[i]) for i in self.ids]
        self.wild = text_of([(x, y + 50.0, h) for x, y, h in Service.gt[self.ids[0]]])
        with RewardClient(Service.addresses["grpc"], timeout=60) as client:
            self.expected = [client.score(i, [Candidate(as_written(Service.gt[i]), t)])[0].total
                             for i, t in zip(self.ids, self.good)]
        self.assertGreater(min(self.expected), 2.5)  # trajectory, format and goal

    def test_trl(self):
        reward = RewardFunction(Service.addresses["grpc"])
        self.assertEqual(reward.__name__, "swerve")
        a, b = self.ids
        # The generations of a prompt stand side by side; columns are lists of the same length.
        got = reward(prompts=["p"] * 4, completions=[self.good[0], self.wild, "no answer", self.good[1]],
                     completion_ids=[[1]] * 4, scene_id=[a, a, a, b], trainer_state=object(), log_extra=None)
        self.assertEqual(got[0], self.expected[0])
        self.assertEqual(got[3], self.expected[1])
        self.assertLess(got[1], got[0])
        self.assertEqual(got[2], 0.0)  # the policy's own failure
        # Conversations, with text as a string or in parts.
        chats = [[{"role": "assistant", "content": self.good[0]}],
                 [{"role": "assistant", "content": [{"type": "text", "text": self.good[1]}]}]]
        self.assertEqual(reward(prompts=[[]] * 2, completions=chats, completion_ids=[[1]] * 2, scene_id=[a, b]),
                         self.expected)
        with self.assertRaisesRegex(ValueError, "scene_id"):
            reward(prompts=["p"], completions=["x"], completion_ids=[[1]])

    def test_trl_infrastructure_failure_is_never_zero(self):
        call = dict(prompts=["p"], completions=[self.good[0]], completion_ids=[[1]], scene_id=[self.ids[0]])
        with self.assertRaises(InfrastructureError):
            RewardFunction(CLOSED, timeout=0.3)(**call)
        self.assertEqual(RewardFunction(CLOSED, timeout=0.3, on_failure="none")(**call), [None])

    def test_verl(self):
        # verl loads the function from a file by its path.
        spec = importlib.util.spec_from_file_location("custom_module", swerve.__path__[0] + "/verl.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules["custom_module"] = module
        spec.loader.exec_module(module)
        address = Service.addresses["grpc"]
        one = module.compute_score(data_source="navsim", solution_str=self.good[0], ground_truth="",
                                   extra_info={"scene_id": self.ids[0], "index": 3}, address=address)
        self.assertEqual(one["score"], self.expected[0])
        many = module.compute_score_batch(
            data_sources=["navsim"] * 3, solution_strs=self.good + ["?"], ground_truths=[*self.ids, {"token": self.ids[0]}],
            extra_infos=[None, {}, None], address=address)
        self.assertEqual([row["score"] for row in many], self.expected + [0.0])
        self.assertEqual([row["valid"] for row in many], [1.0, 1.0, 0.0])
        self.assertEqual(len({tuple(row) for row in many}), 1)  # verl wants the same keys in every row
        with self.assertRaises(InfrastructureError):
            module.compute_score("navsim", self.good[0], self.ids[0], {}, address=CLOSED, timeout=0.3)
        with self.assertRaisesRegex(ValueError, "no scene id"):
            module.compute_score("navsim", self.good[0], None, None, address=address)

    def test_ms_swift(self):
        package = types.ModuleType("swift.rewards")
        package.orms = {}
        sys.modules["swift"], sys.modules["swift.rewards"] = types.ModuleType("swift"), package
        self.addCleanup(lambda: [sys.modules.pop(m) for m in ("swift", "swift.rewards")])
        register(Service.addresses["grpc"])
        # As its trainer does: arguments of __init__ that the training arguments have, then a call with the columns.
        made = package.orms["swerve"]
        self.assertEqual(list(inspect.signature(made.__init__).parameters), ["self"])
        got = made()(self.good, solution=["x", "y"], scene_id=self.ids, trainer_state=None)
        self.assertEqual(got, self.expected)

    def test_the_reward_can_be_any_of_the_scores(self):
        pdms = TextReward(Service.addresses["grpc"], value="pdms").rewards(self.ids, self.good)
        own = TextReward(Service.addresses["grpc"], value=lambda s: 10 * s.pdms).rewards(self.ids, self.good)
        self.assertEqual(own, [10 * p for p in pdms])
        with self.assertRaisesRegex(ValueError, "scene ids"):
            TextReward(Service.addresses["grpc"]).rewards(self.ids, ["one"])


class ParseTest(unittest.TestCase):
    """The cases of tests/policy/codec_test.cc."""

    BODY = ("[1.0,0.0,0.00],[2.1,-0.1,-0.01],[3.0,0,0.02],[4.0,0.0,0.03],[5.0,0.0,0.04],[6.0,0.0,0.05],"
            "[7.0,0.0,0.06],[8.0,0.5,-0.07]")

    def test_exact(self):
        for text in ("<think>a car ahead</think><answer>{}</answer>", "<answer>{}</answer><|im_end|>\n"):
            parsed = parse_pose3(text.format(self.BODY))
            self.assertEqual(parsed.parse, "EXACT")
            self.assertEqual(parsed.poses[1], (2.1, -0.1, -0.01))

    def test_repaired(self):
        for text in ("{}", "<answer>{}", "<answer>{}</answer> done", "<answer>{},[9.0,0.0,0.0]</answer>",
                     "<answer>x</answer><answer>{}</answer>", "<answer> {}</answer>",
                     "[PT, (+1, +2, +3)] <answer>[PT, {}]</answer>"):
            self.assertEqual(parse_pose3(text.format(self.BODY)).parse, "REPAIRED", text)
        spaced = parse_pose3("<answer>" + self.BODY.replace(",", ", +").replace("+-", "-").replace("+[", "[") + "</answer>")
        self.assertEqual((spaced.parse, spaced.poses[7]), ("REPAIRED", (8.0, 0.5, -0.07)))

    def test_failed(self):
        for text in ("", "<answer></answer>", "<answer>[1,2,3],[1,2,3]</answer>",
                     "<answer>" + self.BODY.replace("7.0", "nan") + "</answer>",
                     "<answer>" + self.BODY.replace("7.0", "9" * 400) + "</answer>",
                     "<think>" + self.BODY + "</think><answer>[1,2"):
            self.assertEqual(parse_pose3(text).parse, "FAILED", text)
            self.assertEqual(parse_pose3(text).poses, ())


if __name__ == "__main__":
    unittest.main(verbosity=2)
