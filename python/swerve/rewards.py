"""What the trainers' reward functions share: texts of responses in, one reward each out."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

from swerve.client import RewardClient
from swerve.errors import InfrastructureError
from swerve.groups import Candidate, Rules, Score
from swerve.tls import Tls
from swerve.parse import parse_pose3

ADDRESS_VARIABLE = "SWERVE_REWARD_ADDRESS"
CERTS_VARIABLE = "SWERVE_CERTS"  # directory of `swerve certs init`


def default_address() -> str:
    return os.environ.get(ADDRESS_VARIABLE, "127.0.0.1:50051")


def default_tls() -> Optional[Tls]:
    directory = os.environ.get(CERTS_VARIABLE)
    return Tls.of_directory(directory) if directory else None


class TextReward:
    """Scores responses by scene. Each scene's responses go as one group, several scenes at once.

    value: what the reward is: a field of Score ("total", "pdms", …) or a function of it.
    weights: of (traj, fmt, goal) in Score.total; None: as the service is configured.
    rules: reward functions (RewardClient.score). Functions of a group see the responses to one scene in one call.
    pdm_rules: "v1", "v1.0" or "v2" (RewardClient.score); None: as the service is configured.
    parse: response text → Candidate.
    tls: certificates; None: those of the directory that SWERVE_CERTS names, without it plain.
    on_failure: "raise" (after the retries within `timeout`), or "none": the rewards of that scene are None.
    """

    def __init__(
        self,
        address: Optional[str] = None,
        *,
        value: Union[str, Callable[[Score], float]] = "total",
        weights: Optional[Tuple[float, float, float]] = None,
        rules: Optional[Rules] = None,
        pdm_rules: Optional[str] = None,
        parse: Callable[[str], Candidate] = parse_pose3,
        on_failure: str = "raise",
        timeout: float = 600.0,
        parallel: int = 16,
        tls: Optional[Tls] = None,
    ) -> None:
        if on_failure not in ("raise", "none"):
            raise ValueError(f"on_failure must be 'raise' or 'none', not {on_failure!r}")
        self.client = RewardClient(address or default_address(), timeout=timeout, tls=tls or default_tls())
        self.value = value
        self.weights = weights
        self.rules = rules
        self.pdm_rules = pdm_rules
        self.parse = parse
        self.on_failure = on_failure
        self.parallel = parallel

    def scores(self, scene_ids: Sequence[str], texts: Sequence[str]) -> List[Optional[Score]]:
        if len(scene_ids) != len(texts):
            raise ValueError(f"{len(texts)} responses but {len(scene_ids)} scene ids; each response needs its scene")
        groups: Dict[str, List[int]] = {}
        for i, scene_id in enumerate(scene_ids):
            groups.setdefault(str(scene_id), []).append(i)
        out: List[Optional[Score]] = [None] * len(texts)

        def score(item: Tuple[str, List[int]]) -> None:
            scene_id, members = item
            try:
                found = self.client.score(
                    scene_id,
                    [self.parse(texts[i]) for i in members],
                    weights=self.weights,
                    rules=self.rules,
                    pdm_rules=self.pdm_rules,
                )
            except InfrastructureError:
                if self.on_failure == "raise":
                    raise
                return
            for i, one in zip(members, found):
                out[i] = one

        with ThreadPoolExecutor(max_workers=max(1, min(self.parallel, len(groups)))) as pool:
            for _ in pool.map(score, groups.items()):  # raises what a group raised
                pass
        return out

    def reward(self, score: Score) -> float:
        return float(getattr(score, self.value) if isinstance(self.value, str) else self.value(score))

    def rewards(self, scene_ids: Sequence[str], texts: Sequence[str]) -> List[Optional[float]]:
        return [None if s is None else self.reward(s) for s in self.scores(scene_ids, texts)]


def completion_text(completion: Any) -> str:
    """Text of a completion: a string, or a conversation whose last message holds a string or a list of parts."""
    if isinstance(completion, str):
        return completion
    content = completion[-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content if part.get("type") == "text")
