#!/usr/bin/env python3
"""Load on the real reward service: 64 callers at once, by calls, streams and HTTP, among them slow, cancelling and oversized ones.

    .venv/bin/python bench/reward_load.py --binary build/release/swerve --seconds 60 --out load.json

Every answer is compared, to the last bit, with what the service said to the same group when nobody else called. Lost is
a call that ended without an answer or a typed refusal. Prints one JSON object; exit code 1 when an answer was wrong or
lost, when the service did not survive, or when the floor of its memory in the last third of the time lies 32 MiB
above that before half time.
"""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))  # that of this checkout

from swerve import Candidate, InfrastructureError, RequestError, RewardClient, SceneSet
from swerve import _messages as messages
from swerve._stream import Stream


def rss_mib(pid, field="VmRSS"):
    """0: it has ended."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next((int(line.split()[1]) / 1024 for line in status if line.startswith(field)), 0.0)


def groups_of(scenes, size, count):
    """Groups to ask for: a scene and candidates around its ground truth."""
    rng = random.Random(1)
    groups = []
    for i in range(count):
        scene = scenes[scenes.ids[i % len(scenes)]]
        poses = []
        for _ in range(size):
            k, dy = rng.uniform(0.0, 1.4), rng.gauss(0, 1.5)
            poses.append([(k * p.x, p.y + dy * (j + 1) / 8, p.heading) for j, p in enumerate(scene.gt)])
        groups.append((scene, poses))
    return groups


class Load:
    def __init__(self, args, addresses, groups):
        self.args, self.addresses, self.groups = args, addresses, groups
        self.counts = collections.Counter()
        self.waits = []
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.problems = []
        with RewardClient(addresses["grpc"], timeout=120) as client:
            self.expected = [[s.message.SerializeToString() for s in client.score(s.id, p)] for s, p in groups]
            self.pdms = [[s.pdms for s in client.score(s.id, p)] for s, p in groups]

    def count(self, name, problem=None):
        with self.lock:
            self.counts[name] += 1
            if problem and len(self.problems) < 20:
                self.problems.append(problem)

    def steady(self, rng, inline, shared=None):
        """A trainer: groups by id or inline, with the client's own retries; over the stream of those that share a client."""
        with contextlib.nullcontext(shared) if shared else RewardClient(self.addresses["grpc"], timeout=120) as client:
            while not self.stop.is_set():
                i = rng.randrange(len(self.groups))
                scene, poses = self.groups[i]
                began = time.monotonic()
                try:
                    scores = client.score(scene if inline else scene.id, poses)
                except (InfrastructureError, RequestError) as error:
                    self.count("lost", f"grpc: {error}")
                    continue
                with self.lock:
                    self.waits.append(time.monotonic() - began)
                right = [s.message.SerializeToString() for s in scores] == self.expected[i]
                self.count("right" if right else "wrong", None if right else f"group {i}")
                if shared:
                    self.count("right by stream" if right else "wrong by stream")

    def leaving(self, rng):
        """Asks for groups over a stream, cancels one and hangs up soon after."""
        channel = grpc.insecure_channel(self.addresses["grpc"], options=[("grpc.use_local_subchannel_pool", 1)])
        while not self.stop.is_set():
            stream = Stream(channel)
            ids = []
            for _ in range(20):
                scene, poses = self.groups[rng.randrange(len(self.groups))]
                request = messages.ScoreGroupRequest(scene_id=scene.id)
                for one in poses:
                    candidate = request.candidates.add(parse=1)
                    for x, y, heading in one:
                        candidate.poses.add(x=x, y=y, heading=heading)
                ids.append(stream.ask(request, 60)[0])
            stream.cancel(ids[10])
            time.sleep(rng.uniform(0, 0.01))
            stream.close()
            self.count("streams left")
            time.sleep(0.05)
        channel.close()

    def http(self, rng):
        while not self.stop.is_set():
            i = rng.randrange(len(self.groups))
            scene, poses = self.groups[i]
            body = json.dumps({"token": scene.id, "poses": poses}).encode()
            try:
                with urllib.request.urlopen(self.addresses["http"] + "/score_group", body, timeout=120) as answer:
                    right = [row["pdms"] for row in json.load(answer)] == self.pdms[i]
                self.count("right" if right else "wrong", None if right else f"http group {i}")
            except urllib.error.HTTPError as error:
                if error.code != 429:
                    self.count("lost", f"http {error.code}")
                    continue
                self.count("refused")
                time.sleep(float(error.headers["Retry-After"]))
            except OSError as error:
                self.count("lost", f"http: {error}")

    def cancelling(self, rng):
        """Asks for a large group and hangs up soon after."""
        channel = grpc.insecure_channel(self.addresses["grpc"], options=[("grpc.use_local_subchannel_pool", 1)])
        stub = channel.unary_unary("/swerve.v1.RewardService/ScoreGroup",
                                   request_serializer=messages.ScoreGroupRequest.SerializeToString,
                                   response_deserializer=messages.ScoreGroupReply.FromString)
        while not self.stop.is_set():
            scene, poses = self.groups[rng.randrange(len(self.groups))]
            request = messages.ScoreGroupRequest(scene_id=scene.id)
            for _ in range(20):
                for one in poses:
                    candidate = request.candidates.add(parse=1)
                    for x, y, heading in one:
                        candidate.poses.add(x=x, y=y, heading=heading)
            call = stub.future(request)
            time.sleep(rng.uniform(0, 0.01))
            call.cancel()
            self.count("cancelled")
            time.sleep(0.05)
        channel.close()

    def oversized(self, rng):
        with RewardClient(self.addresses["grpc"], timeout=120, max_message_mb=512) as client:
            while not self.stop.is_set():
                scene, poses = self.groups[0]
                try:
                    client.score(scene.id, [Candidate(poses[0], "x" * (80 << 20))])
                    self.count("wrong", "an oversized message was answered")
                except RequestError:
                    self.count("oversized refused")
                except InfrastructureError as error:
                    self.count("lost", f"oversized: {error}")
                host, port = self.addresses["http"][len("http://"):].split(":")
                with socket.create_connection((host, int(port)), 60) as s:
                    s.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 100000)
                    s.shutdown(socket.SHUT_WR)
                    refused = s.recv(100).startswith(b"HTTP/1.1 413")
                self.count("oversized refused" if refused else "lost", None if refused else "no 413")
                time.sleep(1)

    def slow(self, rng):
        """Sends a body byte by byte and leaves half way."""
        host, port = self.addresses["http"][len("http://"):].split(":")
        while not self.stop.is_set():
            with socket.create_connection((host, int(port)), 60) as s:
                s.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n")
                for _ in range(50):
                    if self.stop.is_set():
                        break
                    s.sendall(b" ")
                    time.sleep(0.1)
            self.count("slow")

    def run(self, pid):
        shared = RewardClient(self.addresses["grpc"], timeout=120)
        kinds = ([lambda r: self.cancelling(r)] * 4 + [lambda r: self.slow(r)] * 4 + [lambda r: self.oversized(r)] * 2 +
                 [lambda r: self.leaving(r)] * 2 + [lambda r: self.http(r)] * 8 +
                 [lambda r: self.steady(r, True)] * 4 + [lambda r: self.steady(r, True, shared)] * 4 +
                 [lambda r: self.steady(r, False, shared)] * 16)
        kinds += [lambda r: self.steady(r, False)] * (self.args.callers - len(kinds))
        memory = {"before": rss_mib(pid)}
        threads = [threading.Thread(target=kind, args=(random.Random(i),)) for i, kind in enumerate(kinds)]
        for thread in threads:
            thread.start()
        memory["floor of each twelfth"] = []
        for _ in range(12):
            until, floor = time.monotonic() + self.args.seconds / 12, rss_mib(pid)
            while time.monotonic() < until:
                time.sleep(0.1)
                floor = min(floor, rss_mib(pid))
            memory["floor of each twelfth"].append(floor)
        self.stop.set()
        for thread in threads:
            thread.join()
        shared.close()
        memory["after"] = rss_mib(pid)
        memory["peak"] = rss_mib(pid, "VmHWM")
        return memory


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default="build/release/swerve")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--scenes", type=int, default=16)
    parser.add_argument("--threads", type=int, default=0, help="scoring threads; 0: one per core")
    parser.add_argument("--max-queue", type=int, default=32, help="small, so that callers are refused and come back")
    parser.add_argument("--out")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([args.binary, "scenes", "generate", "--count", str(args.scenes), "--out", folder + "/scenes"],
                       check=True, stdout=subprocess.DEVNULL)
        service = subprocess.Popen(
            [args.binary, "reward", "--scenes", folder + "/scenes", "--port", "0", "--http-port", "0",
             "--set", f"reward.threads={args.threads}", "--set", f"reward.max_queue={args.max_queue}",
             "--set", "reward.cache_mb=1"],  # smaller than the scenes: the cache works, too
            stdout=subprocess.PIPE, text=True)
        addresses = json.loads(service.stdout.readline())
        load = Load(args, addresses, groups_of(SceneSet(folder + "/scenes"), args.group, 4 * args.scenes))
        memory = load.run(service.pid)
        survived = service.poll() is None
        if not survived:
            print(f"reward_load: the service ended by itself, with {service.returncode}", file=sys.stderr)
            return 1
        with urllib.request.urlopen(addresses["metrics"], timeout=60) as answer:
            refused = sum(float(line.split()[-1]) for line in answer.read().decode().splitlines()
                          if line.startswith("swerve_reward_groups_total") and "RESOURCE_EXHAUSTED" in line)
        service.terminate()
        ended = service.wait(60) == 0
    waits = sorted(load.waits)
    # Oversized messages come and go; what stays is the floor.
    floors = memory["floor of each twelfth"]
    growth = min(floors[8:]) - min(floors[2:6])
    good = survived and ended and load.counts["wrong"] == 0 and load.counts["lost"] == 0 and growth < 32
    result = {
        "callers": args.callers,
        "seconds": args.seconds,
        "cores": os.cpu_count(),
        "answers": dict(load.counts, wrong=load.counts["wrong"], lost=load.counts["lost"]),
        "groups refused with a hint": refused,
        "candidates per second": round(load.counts["right"] * args.group / args.seconds),
        "wait ms": {q: round(1e3 * waits[int(float(q) * (len(waits) - 1))], 1) for q in ("0.5", "0.99", "1")} if waits else {},
        "memory MiB": {k: [round(x) for x in v] if isinstance(v, list) else round(v) for k, v in memory.items()},
        "problems": load.problems,
        "good": good,
    }
    text = json.dumps(result, indent=2)
    print(text)
    if args.out:
        with open(args.out, "w", encoding="utf-8") as out:
            out.write(text + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
