"""GRPO with TRL on the PDM score of a language model's trajectories.

    pip install ./python trl
    swerve scenes generate --count 64 --out scenes
    swerve reward --scenes scenes &
    python python/examples/trl_grpo.py --model Qwen/Qwen2.5-0.5B-Instruct --scenes scenes

--model models/tiny takes the language half of the policy that comes with Swerve: small enough for a CPU, and it answers in
trajectories from the first step on.

What was run: this script with TRL 1.16.0, transformers 5.23.0 and torch 2.11.0 on a CPU, --model models/tiny --cpu
--learning-rate 1e-4, 16 scenes of `scenes generate --mix common --seed 3`: two steps of 16 responses each, mean reward 0.82
and 0.69, then ended by hand (the machine was busy with other things: five minutes a step). No learning was measured. The
tests call the reward function as TRL does (tests/python/reward_client_test.py) without TRL installed.
"""

import argparse
import math
import pathlib
from typing import Any, Dict, List, Tuple

from datasets import Dataset
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer

from swerve import SceneSet
from swerve.trl import RewardFunction

COMMANDS = {0: "move forward", 1: "move forward", 2: "turn left", 3: "turn right"}
TASK = (
    "You drive a car at {speed:.1f} m/s; the command is: {command}. Plan the next 4 seconds as 8 poses, one every 0.5 s, "
    "x forward and y left in metres, heading in radians. Answer with <think>your reasoning</think>"
    "<answer>[x,y,heading],…</answer> and exactly 8 poses."
)


def chat_prompt(scene: Any) -> List[Dict[str, str]]:
    return [{"role": "user", "content": TASK.format(speed=scene.ego.vx, command=COMMANDS[scene.command])}]


def shipped_policy_prompt(scene: Any) -> str:
    """The text that models/tiny was trained on, without its picture."""
    ego, past = scene.ego, []
    c, s = math.cos(ego.rear_axle.heading), math.sin(ego.rear_axle.heading)
    for state in scene.ego_past:
        dx, dy = state.rear_axle.x - ego.rear_axle.x, state.rear_axle.y - ego.rear_axle.y
        turned = math.remainder(state.rear_axle.heading - ego.rear_axle.heading, 2 * math.pi)
        past.append(f"[{c * dx + s * dy:.1f},{c * dy - s * dx:.1f},{turned:.2f}]")
    return (
        f"<|im_start|>user\ncommand {COMMANDS[scene.command]}. speed {ego.vx:.1f} accel {ego.ax:.1f}. "
        f"past {','.join(past)}. drive.<|im_end|>\n<|im_start|>assistant\n"
    )


def load(name: str) -> Tuple[Any, Any, Any]:
    """Model, tokenizer, and the prompt that it understands."""
    tokenizer = AutoTokenizer.from_pretrained(name)
    config = AutoConfig.from_pretrained(name)
    if config.model_type != "internvl":
        return name, tokenizer, chat_prompt
    whole = AutoModelForImageTextToText.from_pretrained(name)
    half = Qwen2ForCausalLM(config.text_config)
    half.model.load_state_dict(whole.model.language_model.state_dict())
    half.tie_weights()
    half.generation_config = whole.generation_config
    return half, tokenizer, shipped_policy_prompt


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--scenes", type=pathlib.Path, required=True)
    parser.add_argument("--address", default="127.0.0.1:50051")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--learning-rate", type=float, default=1e-6)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--out", default="trl-run")
    args = parser.parse_args()

    model, tokenizer, prompt = load(args.model)
    trainer = GRPOTrainer(
        model=model,
        processing_class=tokenizer,
        reward_funcs=RewardFunction(args.address),
        train_dataset=Dataset.from_list([{"prompt": prompt(s), "scene_id": s.id} for s in SceneSet(str(args.scenes))]),
        args=GRPOConfig(
            output_dir=args.out,
            max_steps=args.steps,
            learning_rate=args.learning_rate,
            per_device_train_batch_size=16,
            num_generations=8,
            max_completion_length=256,
            logging_steps=1,
            save_strategy="no",
            bf16=not args.cpu,
            use_cpu=args.cpu,
            report_to=[],
        ),
    )
    trainer.train()


if __name__ == "__main__":
    main()
