"""GRPO with TRL on the PDM score of a language model's trajectories.

    pip install ./python trl
    swerve scenes generate --count 64 --out scenes
    swerve reward --scenes scenes &
    python python/examples/trl_grpo.py --model Qwen/Qwen2.5-0.5B-Instruct --scenes scenes

What was run: the reward function is called as TRL calls it, against the real service, by
tests/python/reward_client_test.py. This script itself was not run with TRL installed.
"""

import argparse

from swerve import SceneSet
from swerve.trl import RewardFunction

COMMANDS = {0: "move forward", 1: "move forward", 2: "turn left", 3: "turn right"}
TASK = (
    "You drive a car at {speed:.1f} m/s; the command is: {command}. Plan the next 4 seconds as 8 poses, one every 0.5 s, "
    "x forward and y left in metres, heading in radians. Answer with <think>your reasoning</think>"
    "<answer>[x,y,heading],…</answer> and exactly 8 poses."
)


def prompts(scenes: SceneSet) -> list:
    return [
        {
            "prompt": [{"role": "user", "content": TASK.format(speed=s.ego.vx, command=COMMANDS[s.command])}],
            "scene_id": s.id,
        }
        for s in scenes
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--scenes", required=True)
    parser.add_argument("--address", default="127.0.0.1:50051")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--out", default="trl-run")
    args = parser.parse_args()

    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    trainer = GRPOTrainer(
        model=args.model,
        reward_funcs=RewardFunction(args.address),
        train_dataset=Dataset.from_list(prompts(SceneSet(args.scenes))),
        args=GRPOConfig(
            output_dir=args.out,
            max_steps=args.steps,
            per_device_train_batch_size=8,
            num_generations=8,
            max_completion_length=256,
            logging_steps=1,
            report_to=[],
        ),
    )
    trainer.train()


if __name__ == "__main__":
    main()
