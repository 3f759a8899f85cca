#!/usr/bin/env python3
"""What README.md and docs/ say is so: links lead somewhere, commands and options exist, and each row of README's table
does what it says, at a small size. Run by ctest: readme_test.py BINARY SOURCE_DIR."""
import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.request

BINARY, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2])
PAGES = [SOURCE / "README.md", *sorted((SOURCE / "docs").glob("*.md"))]
WRAPPER = {"test", "setup"}  # the wrapper's own; the rest it hands to the binary
HELP = {}


def swerve(*arguments, ok=True, cwd=None):
    env = dict(os.environ, SWERVE_HOME=str(SOURCE))
    done = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=300, cwd=cwd, env=env)
    if ok and done.returncode != 0:
        raise AssertionError(f"swerve {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def help_of(command):
    """Help of a command such as ("scenes", "import", "traffic-log"); None: there is no such command."""
    if command not in HELP:
        done = swerve(*command, "--help", ok=False)
        HELP[command] = done.stdout + done.stderr if done.returncode == 0 else None
    return HELP[command]


def commands_in(text):
    """(words, options) of every ./swerve … or `swerve …` that a page shows."""
    shown = re.findall(r"^\s*(?:\d+\. )?\./swerve ([^#\n]+)", text, re.M) + re.findall(r"`(?:\./)?swerve ([^`]+)`", text)
    for line in shown:
        line = line.replace("\\|", "|")
        head = re.split(r"\s(?=-|[A-Z.]|\$)", line)[0]
        words = []
        for word in head.split():
            if not re.fullmatch(r"[a-z][a-z|-]*", word):
                break
            words.append(word)
        options = re.findall(r"(?<![\w-])(--[a-z][a-z0-9-]*)", line)
        alternatives = [w.strip() for w in re.split(r"\s\|\s", head)]
        if len(alternatives) > 1:  # scenes generate | import | ls: one command each
            first = alternatives[0].split()
            for last in [first[-1], *alternatives[1:]]:
                yield (*first[:-1], last), []
        elif words:
            yield tuple(words), options


class Pages(unittest.TestCase):
    def test_links_lead_somewhere(self):
        for page in PAGES:
            for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
                if "://" not in target:
                    self.assertTrue((page.parent / target).exists(), f"{page.name} links to {target}")

    def test_commands_and_options_exist(self):
        seen = 0
        for page in PAGES:
            for words, options in commands_in(page.read_text()):
                if words[0] in WRAPPER or words[0].isupper():
                    continue
                # What follows the command may be a value: the longest prefix that has help is the command.
                command = next((words[:n] for n in range(len(words), 0, -1) if help_of(words[:n])), None)
                self.assertIsNotNone(command, f"{page.name}: no command swerve {' '.join(words)}")
                for option in options:
                    self.assertIn(option, help_of(command), f"{page.name}: swerve {' '.join(command)} has no {option}")
                seen += 1
        self.assertGreater(seen, 15)


class Table(unittest.TestCase):
    """README's "What is in the box", one test a row."""

    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="swerve_readme"))
        cls.model = SOURCE / "models" / "tiny"
        cls.scenes = cls.dir / "scenes"
        swerve("scenes", "generate", "--mix", "rl", "--count", 8, "--seed", 3, "--out", cls.scenes)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir, ignore_errors=True)

    def test_score(self):
        golden = SOURCE / "tests" / "golden" / "pdms" / "public"
        cases = self.dir / "scenes.json"
        cases.write_bytes(gzip.decompress((golden / "scenes.json.gz").read_bytes()))
        swerve("score", "--scenes", cases, "--out", self.dir / "scores.json")
        self.assertTrue(json.loads((self.dir / "scores.json").read_text()))

    def test_reward(self):
        service = subprocess.Popen([BINARY, "reward", "--scenes", self.scenes, "--port", "0", "--http-port", "0"],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            addresses = json.loads(service.stdout.readline())
            scene = swerve("scenes", "ls", self.scenes).stdout.split()[0]
            body = json.dumps({"token": scene, "poses": [[4.0 * i, 0.0, 0.0] for i in range(1, 9)]}).encode()
            with urllib.request.urlopen(addresses["http"] + "/score", body, timeout=60) as answer:
                self.assertTrue(json.load(answer)["valid"])
        finally:
            service.terminate()
            service.stdout.close()
            self.assertEqual(service.wait(60), 0)

    def test_objective(self):
        for file in sorted((SOURCE / "tests" / "golden" / "objectives").glob("rl_objectives_*.json")):
            out = swerve("objective", "--in", file).stdout
            self.assertEqual(len(json.loads(out)["cases"]), len(json.loads(file.read_text())["cases"]), file.name)

    def test_scenes(self):
        scene = swerve("scenes", "ls", self.scenes).stdout.split()[0]
        self.assertIn("prompt", swerve("scenes", "show", self.scenes, scene).stdout.lower())
        swerve("scenes", "stats", self.scenes)
        swerve("scenes", "validate", self.scenes)
        swerve("scenes", "render", self.scenes, scene, "--out", self.dir / "scene.png")
        self.assertEqual((self.dir / "scene.png").read_bytes()[1:4], b"PNG")
        swerve("scenes", "export", self.scenes, "--out", self.dir / "export.json")
        self.assertEqual(len(json.loads((self.dir / "export.json").read_text())["scenes"]), 8)

    def test_sft_and_curate(self):
        swerve("sft", "--model", self.model, "--scenes", self.scenes, "--steps", 2, "--batch", 2, "--out", self.dir / "tuned")
        self.assertTrue((self.dir / "tuned" / "model.safetensors").exists())
        swerve("curate", "--scenes", self.scenes, "--policy", self.model, "--samples", 2, "--out", self.dir / "kept.tsv")
        self.assertTrue((self.dir / "kept.tsv").read_text())

    def test_train_then_report(self):
        run = self.dir / "run"
        swerve("train", "--config", SOURCE / "deploy" / "swerve.yaml", "--run", run, "--set", f"scenes.train=[{self.scenes}]",
               "--set", f"policy.model={self.model}", "--set", "learner.steps=1", "--set", "learner.batch_groups=2",
               "--set", "rollout.num_generations=2")
        self.assertEqual(json.loads((run / "result.json").read_text())["steps"], 1)
        swerve("report", run)
        page = (run / "report.html").read_text()
        self.assertIn("</html>", page)
        self.assertNotIn("http://", re.sub(r"http://www\.w3\.org", "", page), "the page loads something from elsewhere")

    def test_certs_and_a_run_under_tls(self):
        certs = self.dir / "certs"
        self.assertIn("rollout", swerve("certs", "init", certs, "--host", "trainer-7.example").stdout)
        self.assertIn("trainer-7.example", swerve("certs", "show", certs).stdout)
        self.assertNotEqual(swerve("certs", "init", certs, ok=False).returncode, 0, "certificates were overwritten")
        swerve("certs", "renew", certs)
        self.assertEqual((certs / "learner.key").stat().st_mode & 0o077, 0)
        run = self.dir / "run_tls"
        swerve("train", "--config", SOURCE / "deploy" / "swerve.yaml", "--run", run, "--set", f"scenes.train=[{self.scenes}]",
               "--set", f"policy.model={self.model}", "--set", "learner.steps=1", "--set", "learner.batch_groups=2",
               "--set", "rollout.num_generations=2", "--set", f"security.certs={certs}")
        self.assertEqual(json.loads((run / "result.json").read_text())["steps"], 1)
        token = (run / "admin_token").read_text().strip()
        self.assertEqual((run / "admin_token").stat().st_mode & 0o077, 0)
        for file in run.rglob("*"):
            if file.is_file() and file.name != "admin_token":
                self.assertNotIn(token.encode(), file.read_bytes(), f"{file.name} holds the admin token")
        refused = swerve("train", "--config", SOURCE / "deploy" / "swerve.yaml", "--dry-run", "--set",
                         f"scenes.train=[{self.scenes}]", "--set", f"policy.model={self.model}", "--set",
                         "telemetry.listen=0.0.0.0", ok=False)
        self.assertIn("swerve certs init", refused.stdout + refused.stderr)

    def test_eval(self):
        out = self.dir / "eval.json"
        swerve("eval", "--policy", self.model, "--scenes", self.scenes, "--json", out)
        plain = json.loads(out.read_text())
        self.assertEqual(plain["overall"]["scenes"], 8)
        self.assertEqual(len(plain["overall"]["pdms_ci95"]), 2)
        runs = self.dir / "runs.jsonl"
        page = (SOURCE / "docs" / "open_loop.md").read_text()
        runs.write_text("\n".join(re.findall(r'^{"scenario".*}$', page, re.M)))
        shown = swerve("eval", "--policy", self.model, "--scenes", self.scenes, "--json", out,
                       "--metrics", "l2,collision,planning", "--closed-loop", runs).stdout
        more = json.loads(out.read_text())
        for protocol in ("uniad", "st_p3"):
            self.assertGreater(more["open_loop"]["overall"]["l2_m"][protocol]["3s"], 0)
            self.assertIn("3s", more["open_loop"]["overall"]["collision_rate"][protocol])
        self.assertEqual(more["open_loop"]["overall"]["planning_accuracy"]["swerve"]["joint"],
                         plain["overall"]["planning_accuracy"])
        self.assertEqual(more["neuroncap"]["runs"], 3)
        self.assertEqual({key: more[key] for key in plain}, plain)
        self.assertIn("UniAD", shown)
        swerve("eval", "--closed-loop", runs, "--json", out)
        self.assertEqual(json.loads(out.read_text()), {"neuroncap": more["neuroncap"]})


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
