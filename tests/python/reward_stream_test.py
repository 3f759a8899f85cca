"""The Python client's stream, which threads that share a client share: against the real reward service and against one that
breaks, refuses or knows no streams.

Environment: SWERVE_BINARY. Ends with 77 (skipped) without grpcio.
"""

import json
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
import threading
import unittest
from concurrent import futures

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))
sys.dont_write_bytecode = True

try:
    import grpc
except ImportError as missing:
    print(f"skipped: {missing}; pip install grpcio protobuf")
    sys.exit(77)

from swerve import Candidate, InfrastructureError, RequestError, RewardClient, SceneSet
from swerve import _messages as messages

BINARY = os.environ.get("SWERVE_BINARY", str(ROOT / "build/light/swerve"))


def in_threads(count, work):
    """[work(0), work(1), …], all begun before the first ends."""
    ready = threading.Barrier(count)

    def one(i):
        ready.wait()
        return work(i)

    with futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


class RealServiceTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        scenes = cls.folder.name + "/scenes"
        subprocess.run([BINARY, "scenes", "generate", "--count", "4", "--seed", "5", "--out", scenes, "--threads", "1"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.process = subprocess.Popen(
            [BINARY, "reward", "--scenes", scenes, "--port", "0", "--http-port", "0", "--set", "reward.threads=2",
             "--set", "reward.max_queue=8", "--set", "reward.max_message_mb=1"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        cls.address = json.loads(cls.process.stdout.readline())["grpc"]
        cls.scenes = SceneSet(scenes)

    @classmethod
    def tearDownClass(cls):
        cls.process.terminate()
        code = cls.process.wait(60)  # streams that are open do not hold it up
        cls.process.stdout.close()
        cls.folder.cleanup()
        assert code == 0, f"the reward service ended with {code}"

    def test_each_thread_gets_its_own_answers(self):
        ids = self.scenes.ids

        def group(i, k):
            scene = self.scenes[ids[(i + k) % len(ids)]]
            return scene.id, [[(p.x * (0.5 + 0.01 * i), p.y + 0.1 * k, p.heading) for p in scene.gt]] * 16

        with RewardClient(self.address, timeout=60) as client:
            alone = [[client.score(*group(i, k)) for k in range(10)] for i in range(16)]
            self.assertIsNone(client._stream)  # nobody beside it
            self.assertEqual(in_threads(16, lambda i: [client.score(*group(i, k)) for k in range(10)]), alone)
            self.assertIsNotNone(client._stream)
            self.assertFalse(client._stream.broken)
            copy = pickle.loads(pickle.dumps(client))
            self.assertEqual(copy.score(*group(0, 0)), alone[0][0])

    def test_errors_are_those_of_a_call(self):
        scene = self.scenes[self.scenes.ids[0]]
        gt = [(p.x, p.y, p.heading) for p in scene.gt]

        def ask(i):
            try:
                if i % 4 == 0:
                    return client.score("nowhere", [gt])
                if i % 4 == 1:
                    return client.score(scene.id, [Candidate(gt, "x" * (2 << 20))])  # larger than the service takes
                return len(client.score(scene.id, [gt] * 20))
            except RequestError as error:
                return error.code

        with RewardClient(self.address, timeout=60) as client:
            self.assertEqual(in_threads(12, ask), ["NOT_FOUND", "RESOURCE_EXHAUSTED", 20, 20] * 3)


class Scripted(grpc.GenericRpcHandler):
    """Answers with the scene's id as a number; a stream after what `group` says to each group."""

    def __init__(self, group=None):
        self.group = group
        self.lock = threading.Lock()
        self.calls, self.streams, self.streamed = 0, 0, 0
        self.server = grpc.server(futures.ThreadPoolExecutor(8))
        self.server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def service(self, details):
        if details.method == "/swerve.v1.RewardService/ScoreGroup":
            return grpc.unary_unary_rpc_method_handler(self.call)
        if details.method == "/swerve.v1.RewardBatchService/ScoreStream" and self.group is not None:
            return grpc.stream_stream_rpc_method_handler(self.stream)
        return None

    def call(self, request, context):
        with self.lock:
            self.calls += 1
        if self.calls == 1:
            self.first.wait(60)  # so that the others find somebody in front of them
        reply = messages.ScoreGroupReply()
        reply.rewards.add(total=float(messages.ScoreGroupRequest.FromString(request).scene_id))
        return reply.SerializeToString()

    first = threading.Event()

    def stream(self, requests, context):
        self.streams += 1
        for request in requests:
            reply = messages.ScoreGroupsReply()
            for group in reversed(messages.ScoreStreamRequest.FromString(request).groups):
                self.streamed += 1
                answer = reply.answers.add(id=group.id)
                self.group(self.streamed, group, answer, context)
                if not answer.HasField("error"):
                    answer.reply.rewards.add(total=float(group.group.scene_id))
            yield reply.SerializeToString()


class ScriptedServiceTest(unittest.TestCase):
    def ask(self, service, threads=8, each=5):
        """One thread holds a call of its own, the others ask meanwhile: over the stream, where there is one."""
        self.addCleanup(service.server.stop, None)
        service.first = threading.Event()
        slept = []
        with RewardClient(service.address, timeout=60, sleep=slept.append) as client:
            with futures.ThreadPoolExecutor(1) as pool:
                held = pool.submit(client.score, "-1", [[]])
                while service.calls == 0:
                    threading.Event().wait(0.001)
                got = in_threads(threads, lambda i: [client.score(str(100 * i + k), [[]])[0].total for k in range(each)])
                service.first.set()
                self.assertEqual(held.result()[0].total, -1)
        self.assertEqual(got, [[100 * i + k for k in range(each)] for i in range(threads)])
        return slept

    def test_a_broken_stream_loses_nothing(self):
        def broken(n, group, answer, context):
            if n == 7:
                context.abort(grpc.StatusCode.UNAVAILABLE, "shutting down")

        service = Scripted(broken)
        slept = self.ask(service)
        self.assertEqual((service.streams, service.calls), (2, 1))
        self.assertTrue(slept)

    def test_refused_groups_are_asked_again_after_the_delay(self):
        def refused(n, group, answer, context):
            if n > 3:
                return
            info = messages.RetryInfo()
            info.retry_delay.seconds = 3
            answer.error.code = 8
            answer.error.details.add(type_url="type.googleapis.com/google.rpc.RetryInfo", value=info.SerializeToString())

        service = Scripted(refused)
        slept = self.ask(service)
        self.assertEqual((service.streams, service.calls, service.streamed), (1, 1, 43))
        self.assertEqual(len(slept), 3)
        self.assertTrue(all(3 <= s <= 4.5 for s in slept), slept)

    def test_a_stream_that_is_refused_leaves_calls(self):
        service = Scripted(lambda n, group, answer, context: context.abort(grpc.StatusCode.PERMISSION_DENIED, "no"))
        self.ask(service)
        self.assertEqual(service.calls, 41)

    def test_a_service_without_streams_is_asked_by_calls(self):
        service = Scripted()
        self.ask(service)
        self.assertEqual(service.calls, 41)

    def test_a_service_that_says_nothing_is_not_waited_for(self):
        silence = threading.Event()
        self.addCleanup(silence.set)
        service = Scripted(lambda *_: silence.wait(60))
        self.addCleanup(service.server.stop, None)
        service.first = threading.Event()
        self.addCleanup(service.first.set)
        with RewardClient(service.address, timeout=60) as client:
            with futures.ThreadPoolExecutor(1) as pool:
                held = pool.submit(client.score, "-1", [[]])
                while service.calls == 0:
                    threading.Event().wait(0.001)
                with self.assertRaisesRegex(InfrastructureError, "DEADLINE_EXCEEDED"):
                    client.score("1", [[]], timeout=0.05)
                service.first.set()
                held.result()


if __name__ == "__main__":
    unittest.main()
