"""Reward function for verl, named in its configuration by this file's path (python -m swerve.verl prints it):

    custom_reward_function.path=…/swerve/verl.py  custom_reward_function.name=compute_score         # one by one
    custom_reward_function.path=…/swerve/verl.py  custom_reward_function.name=compute_score_batch   # manager: batch

The scene's id is extra_info["scene_id"] (or "token"), or the ground truth itself. The service's address comes from
SWERVE_REWARD_ADDRESS or reward_kwargs (+custom_reward_function.reward_kwargs.address=…). verl has no reward for "not
known": a service that does not answer raises.
"""

from __future__ import annotations

import threading
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from swerve.groups import Score
from swerve.rewards import TextReward, default_address

_lock = threading.Lock()
_rewards: Dict[Tuple[Any, ...], TextReward] = {}


def _reward(address: Optional[str], value: str, timeout: float) -> TextReward:
    key = (address or default_address(), value, timeout)
    with _lock:
        if key not in _rewards:
            _rewards[key] = TextReward(key[0], value=value, timeout=timeout)
        return _rewards[key]


def _scene_id(ground_truth: Any, extra_info: Any) -> str:
    for source in (extra_info, ground_truth):
        if isinstance(source, Mapping):
            for name in ("scene_id", "token"):
                if source.get(name):
                    return str(source[name])
    if isinstance(ground_truth, str) and ground_truth:
        return ground_truth
    raise ValueError("no scene id: put it into extra_info['scene_id'] or make it the ground truth")


def _row(reward: TextReward, score: Optional[Score]) -> Dict[str, Any]:
    assert score is not None  # on_failure is "raise"
    return {
        "score": reward.reward(score),
        "pdms": score.pdms,
        "nc": score.nc,
        "dac": score.dac,
        "ttc": score.ttc,
        "ep": score.ep,
        "comfort": score.comfort,
        "valid": float(score.valid),
    }


def compute_score(
    data_source: Any,
    solution_str: str,
    ground_truth: Any,
    extra_info: Any = None,
    address: Optional[str] = None,
    value: str = "total",
    timeout: float = 600.0,
    **_: Any,
) -> Dict[str, Any]:
    reward = _reward(address, value, timeout)
    return _row(reward, reward.scores([_scene_id(ground_truth, extra_info)], [solution_str])[0])


def compute_score_batch(
    data_sources: Sequence[Any],
    solution_strs: Sequence[str],
    ground_truths: Sequence[Any],
    extra_infos: Sequence[Any],
    address: Optional[str] = None,
    value: str = "total",
    timeout: float = 600.0,
    **_: Any,
) -> List[Dict[str, Any]]:
    reward = _reward(address, value, timeout)
    scene_ids = [_scene_id(truth, extra) for truth, extra in zip(ground_truths, extra_infos)]
    return [_row(reward, score) for score in reward.scores(scene_ids, solution_strs)]


if __name__ == "__main__":
    print(__file__)
