"""Reward function for ms-swift: a plugin file of two lines,

    from swerve.ms_swift import register
    register()                          # then: swift rlhf --external_plugins that_file.py --reward_funcs swerve

The data set has a column scene_id. ms-swift, like TRL, counts a response as 0 when every reward function returns None
for it, so a service that does not answer raises unless on_failure="none" is asked for.
"""

from __future__ import annotations

import importlib
from typing import Any, List, MutableMapping, Optional, Type

from swerve.rewards import TextReward, completion_text


def reward_class(address: Optional[str] = None, *, column: str = "scene_id", **options: Any) -> Type[Any]:
    """A class as ms-swift wants it: made without arguments, called with completions and the data set's columns.

    Options as TextReward. Address: None means SWERVE_REWARD_ADDRESS, read when training starts.
    """

    class Swerve:
        def __init__(self) -> None:
            self._reward = TextReward(address, **options)

        def __call__(self, completions: List[Any], **columns: Any) -> List[Optional[float]]:
            if column not in columns:
                raise ValueError(f"the data set has no column {column!r}; it must name each prompt's scene")
            return self._reward.rewards(columns[column], [completion_text(c) for c in completions])

    return Swerve


def register(
    address: Optional[str] = None,
    *,
    name: str = "swerve",
    registry: Optional[MutableMapping[str, Any]] = None,
    **options: Any,
) -> None:
    """Makes the reward known to ms-swift as `name`. `registry`: its dictionary orms, found when not given."""
    if registry is None:
        for module in ("swift.rewards", "swift.plugin", "swift.plugin.orm"):
            try:
                registry = importlib.import_module(module).orms
                break
            except (ImportError, AttributeError):
                continue
        else:
            raise ImportError("ms-swift's table of reward functions (orms) was not found; is ms-swift installed?")
    assert registry is not None
    registry[name] = reward_class(address, **options)
