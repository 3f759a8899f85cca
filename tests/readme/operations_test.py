#!/usr/bin/env python3
"""Every command block of docs/operations.md is run as it stands, on a small run; only the step that a resumed run goes on
to is moved ahead of where it is. Run by ctest: operations_test.py BINARY SOURCE_DIR."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

BINARY, SOURCE = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
PATIENCE = 240  # seconds
SMALL = """
scenes: {{train: [{scenes}]}}
policy: {{model: {model}}}
rollout: {{num_generations: 2, max_new_tokens: 24, groups_in_flight: 2}}
learner: {{steps: 100000, batch_groups: 2, num_iterations: 1}}
"""


def blocks():
    return re.findall(r"^```sh\n(.*?)^```$", (SOURCE / "docs" / "operations.md").read_text(), re.M | re.S)


class Operations(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="swerve_operations"))
        (self.dir / "swerve").symlink_to(BINARY)
        subprocess.run([BINARY, "scenes", "generate", "--mix", "rl", "--count", "8", "--seed", "3", "--out", self.dir / "scenes"],
                       check=True, capture_output=True)
        (self.dir / "my.yaml").write_text(SMALL.format(scenes=self.dir / "scenes", model=SOURCE / "models" / "tiny"))
        self.train = None

    def tearDown(self):
        if self.train and self.train.poll() is None:
            self.train.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self, block):
        env = dict(os.environ, SWERVE_HOME=str(SOURCE))
        return subprocess.Popen(["bash", "-euo", "pipefail", "-c", block], cwd=self.dir, env=env, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run_block(self, block):
        process = self.start(block)
        output, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, f"{block}\n{output}")
        return output

    def step(self):
        try:
            lines = (self.dir / "runs" / "mine" / "metrics.jsonl").read_text().splitlines()
            return json.loads(lines[-1])["step"]
        except (OSError, IndexError, ValueError):
            return 0

    def await_step(self, step):
        until = time.monotonic() + PATIENCE
        while self.step() < step:
            self.assertIsNone(self.train.poll(), "the run has ended")
            self.assertLess(time.monotonic(), until, "the run stands still")
            time.sleep(0.1)

    def test_every_block(self):
        start, stop, resume, *others = blocks()
        self.train = self.start("exec " + start)
        self.await_step(1)
        last = [b for b in others if "swerve report" in b or "swerve chaos" in b]
        seen = {block: self.run_block(block) for block in others if block not in last}
        self.assertIn("swerve_groups_accepted", "".join(seen.values()))
        self.assertIn("oracle", "".join(seen.values()))
        self.await_step(self.step() + 2)  # it lived through all of them
        # What the page plans afterwards must lie ahead.
        planned = re.search(r"learner\.steps=(\d+)", resume).group(1)
        resume = resume.replace(planned, str(max(int(planned), self.step() + 40)))
        self.run_block(stop)
        output, _ = self.train.communicate(timeout=PATIENCE)
        self.assertIn("--resume", output)
        self.run_block(resume)
        self.assertTrue(json.loads((self.dir / "runs" / "mine" / "result.json").read_text())["finished"])
        for block in last:
            self.run_block(block)
        self.assertTrue((self.dir / "runs" / "mine" / "report.html").exists())
        self.assertEqual(json.loads((self.dir / "runs" / "chaos" / "chaos.json").read_text())["violations"], [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
