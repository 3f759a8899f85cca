"""Reward function for TRL's GRPOTrainer (and RLOOTrainer):

    from swerve.trl import RewardFunction
    GRPOTrainer(…, reward_funcs=RewardFunction("127.0.0.1:50051"))   # the data set has a column scene_id

TRL counts a response as 0 when every reward function returns None for it. So a service that does not answer ends the
training with InfrastructureError (resume it from the checkpoint); on_failure="none" is for use beside other functions.
"""

from __future__ import annotations

from typing import Any, List, Optional

from swerve.rewards import TextReward, completion_text


class RewardFunction(TextReward):
    """TextReward as TRL calls it. `column`: the data set's column with scene ids."""

    def __init__(self, address: Optional[str] = None, *, column: str = "scene_id", **options: Any) -> None:
        super().__init__(address, **options)
        self.column = column
        self.__name__ = "swerve"  # in TRL's logs

    def __call__(self, completions: List[Any], **columns: Any) -> List[Optional[float]]:
        if self.column not in columns:
            raise ValueError(f"the data set has no column {self.column!r}; it must name each prompt's scene")
        return self.rewards(columns[self.column], [completion_text(c) for c in completions])
