#!/usr/bin/env python3
"""Every command block of docs/teachers.md is run as it stands, on a small run. Run by ctest: teachers_test.py BINARY SOURCE_DIR."""
import json
import re
import sys
import unittest

from small_run import SOURCE, SmallRun, blocks


class Teachers(SmallRun):
    def test_every_block(self):
        self.generate("scenes/held_out", seed=4)
        swap, report, compare = blocks("teachers.md")
        for command in re.findall(r"^ *(\./swerve .*)$", (SOURCE / "docs" / "teachers.md").read_text(), re.M):
            self.assertIn(command, swap + report + compare)
        self.train = self.start("exec ./swerve train --config my.yaml --run runs/mine")
        self.await_step(1)
        said = self.run_block(swap)
        for version in range(2, 8):
            self.assertIn(f"set {version} is in force", said)
        self.await_step(self.step() + 2)
        events = [event for row in self.rows() for event in row.get("events", [])]
        self.assertEqual([int(re.search(r"set (\d+)", event).group(1)) for event in events], list(range(2, 2 + len(events))))
        self.assertGreaterEqual(len(events), 5)
        self.run_block(report)
        self.assertIn("<h2>Teachers</h2>", (self.dir / "runs" / "mine" / "report.html").read_text())
        table = self.run_block(compare)
        self.assertIn("rule - oracle", table)
        figures = json.loads((self.dir / "comparison.json").read_text())["figures"]
        self.assertIsNotNone(figures["pdms_gain"]["difference"]["value"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
