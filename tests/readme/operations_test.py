#!/usr/bin/env python3
"""Every command block of docs/operations.md is run as it stands, on a small run; only the step that a resumed run goes on
to is moved ahead of where it is. Run by ctest: operations_test.py BINARY SOURCE_DIR."""
import json
import re
import sys
import unittest

from small_run import PATIENCE, SmallRun, blocks


class Operations(SmallRun):
    def test_every_block(self):
        start, stop, resume, *others = blocks("operations.md")
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
