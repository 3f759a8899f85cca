"""Plugin for ms-swift; the JSONL rows carry the column scene_id.

    SWERVE_REWARD_ADDRESS=127.0.0.1:50051 swift rlhf --rlhf_type grpo --model MODEL --dataset train.jsonl \
        --external_plugins python/examples/ms_swift_plugin.py --reward_funcs swerve --num_generations 8

What was run: the class that register() makes is made and called as ms-swift's GRPO trainer does, against the real
service, by tests/python/reward_client_test.py. This command was not run with ms-swift installed.
"""

from swerve.ms_swift import register

register()
