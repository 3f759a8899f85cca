"""What tests of the documentation share: a small run in a directory of its own, and shell blocks run as they stand."""
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


def blocks(page):
    """The blocks ```sh of docs/PAGE."""
    return re.findall(r"^```sh\n(.*?)^```$", (SOURCE / "docs" / page).read_text(), re.M | re.S)


class SmallRun(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="swerve_readme"))
        (self.dir / "swerve").symlink_to(BINARY)
        (self.dir / "models").symlink_to(SOURCE / "models")
        self.generate("scenes", seed=3)
        (self.dir / "my.yaml").write_text(SMALL.format(scenes=self.dir / "scenes", model=SOURCE / "models" / "tiny"))
        self.train = None

    def tearDown(self):
        if self.train and self.train.poll() is None:
            self.train.kill()
            self.train.communicate(timeout=PATIENCE)
        shutil.rmtree(self.dir, ignore_errors=True)

    def generate(self, out, seed):
        subprocess.run([BINARY, "scenes", "generate", "--mix", "rl", "--count", "8", "--seed", str(seed), "--out", self.dir / out],
                       check=True, capture_output=True)

    def start(self, block):
        env = dict(os.environ, SWERVE_HOME=str(SOURCE))
        return subprocess.Popen(["bash", "-euo", "pipefail", "-c", block], cwd=self.dir, env=env, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run_block(self, block):
        process = self.start(block)
        output, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, f"{block}\n{output}")
        return output

    def rows(self):
        try:
            return [json.loads(line) for line in (self.dir / "runs" / "mine" / "metrics.jsonl").read_text().splitlines()]
        except (OSError, ValueError):
            return []

    def step(self):
        rows = self.rows()
        return rows[-1]["step"] if rows else 0

    def await_step(self, step):
        until = time.monotonic() + PATIENCE
        while self.step() < step:
            self.assertIsNone(self.train.poll(), "the run has ended")
            self.assertLess(time.monotonic(), until, "the run stands still")
            time.sleep(0.1)
