#!/usr/bin/env bash
# GRPO with verl on the PDM score. The parquet rows need extra_info.scene_id (or the scene's id as
# reward_model.ground_truth). With the batch manager each scene's responses travel as one group.
#
# What was run: swerve/verl.py is loaded by its path and both functions are called as verl's naive and batch managers
# call them, against the real service, by tests/python/reward_client_test.py. This script was not run with verl installed.
set -euo pipefail
export SWERVE_REWARD_ADDRESS=${SWERVE_REWARD_ADDRESS:-127.0.0.1:50051}
python3 -m verl.trainer.main_ppo \
  algorithm.adv_estimator=grpo \
  data.train_files="${TRAIN:?parquet file}" \
  data.val_files="${VAL:?parquet file}" \
  actor_rollout_ref.model.path="${MODEL:?model directory}" \
  actor_rollout_ref.rollout.name=vllm \
  actor_rollout_ref.rollout.n=8 \
  reward_model.reward_manager=batch \
  custom_reward_function.path="$(python3 -m swerve.verl)" \
  custom_reward_function.name=compute_score_batch "$@"
