"""Groups as callers write them and as messages: a scene, its candidates, and the scores that come back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from google.protobuf import json_format

from swerve import _messages as messages

Pose = Sequence[float]  # x (m, forward), y (m, left), heading (rad, counter-clockwise), ego frame at t = 0
Poses = Sequence[Pose]  # 8 of them, 0.5 … 4.0 s
# What is added to the weighted sum, as in the section reward.rules of a configuration:
# {"functions": ["spanvla"], "spanvla": {"w_neg": 0.5}}; or a swerve.v1.RewardRules.
Rules = Union[Mapping[str, Any], Any]

_PDM_RULES = {"v1": "V1", "v1.0": "V1_0", "v2": "V2"}


@dataclass(frozen=True)
class Candidate:
    """One response: its trajectory, and its text where the format reward matters."""

    poses: Poses = ()
    text: str = ""
    parse: str = "EXACT"  # EXACT, REPAIRED, FAILED: how the text was read
    prev_poses: Poses = ()  # rules v2: the plan of the previous frame, in that frame, for extended comfort


@dataclass(frozen=True)
class Score:
    """Reward and sub-scores of one candidate. Invalid: every score of the trajectory is 0 and `invalid` says why."""

    total: float  # weighted sum of traj, fmt and goal, and the terms
    traj: float  # PDMS; EPDMS by the rules of v2
    fmt: float
    goal: float
    pdms: float
    nc: float  # no at-fault collision
    dac: float  # drivable area compliance
    ddc: float  # driving direction compliance
    ep: float  # ego progress
    ttc: float  # time to collision
    comfort: float  # v2: history comfort
    epdms: Optional[float] = None  # v2, as tlc, lk and ec
    tlc: Optional[float] = None  # traffic light compliance
    lk: Optional[float] = None  # lane keeping
    ec: Optional[float] = None  # extended comfort; None without a plan of the previous frame
    forgiven: Tuple[str, ...] = ()  # sub-scores that are 0 for the human too and count as 1 in epdms
    invalid: Optional[str] = None  # WRONG_SHAPE, NOT_FINITE, DIVERGED, UNPARSED
    terms: Dict[str, float] = field(default_factory=dict, hash=False)  # of the reward functions, by name
    message: Any = field(default=None, repr=False, compare=False)  # swerve.v1.Reward; .facts has what went wrong

    @property
    def valid(self) -> bool:
        return self.invalid is None


def score_of(reward: Any) -> Score:
    s = reward.scores
    return Score(
        total=reward.total,
        traj=reward.traj,
        fmt=reward.fmt,
        goal=reward.goal,
        pdms=s.pdms,
        nc=s.nc,
        dac=s.dac,
        ddc=s.ddc,
        ep=s.ep,
        ttc=s.ttc,
        comfort=s.comfort,
        **{name: getattr(s, name) for name in ("epdms", "tlc", "lk", "ec") if s.HasField(name)},
        forgiven=tuple(s.forgiven),
        invalid=messages.enum_name("InvalidReason", reward.invalid) if reward.invalid else None,
        terms={term.name: term.value for term in reward.terms},
        message=reward,
    )


def poses_were_read(request: Any, reply: Any) -> bool:
    """False: the service is of before flat poses, passed them over, and says that there are none."""
    unparsed = messages.enum_value("InvalidReason", "UNPARSED")
    failed = messages.enum_value("ParseStatus", "FAILED")
    return not any(
        reward.invalid == unparsed and candidate.flat_poses and candidate.parse != failed
        for candidate, reward in zip(request.candidates, reply.rewards)
    )


@dataclass(frozen=True)
class Group:
    """What RewardClient.score takes, for score_groups."""

    scene: Union[str, bytes, Any]
    candidates: Sequence[Union[Candidate, Poses]]
    weights: Optional[Tuple[float, float, float]] = None
    rules: Optional[Rules] = None
    pdm_rules: Optional[str] = None


def _flat(poses: Poses) -> List[float]:
    flat: List[float] = []
    for x, y, heading in poses:
        flat += (x, y, heading)
    return flat


def request_of(group: Group) -> Any:
    request = messages.ScoreGroupRequest()
    if group.pdm_rules is not None:
        if group.pdm_rules not in _PDM_RULES:
            raise ValueError(f"pdm_rules must be one of {', '.join(_PDM_RULES)}, not {group.pdm_rules!r}")
        request.pdm_rules = messages.enum_value("PdmRules", _PDM_RULES[group.pdm_rules])
    if isinstance(group.scene, str):
        request.scene_id = group.scene
    elif isinstance(group.scene, bytes):
        request.scene.ParseFromString(group.scene)
    else:
        request.scene.CopyFrom(group.scene)
    for candidate in group.candidates:
        if not isinstance(candidate, Candidate):
            candidate = Candidate(candidate)
        one = request.candidates.add(text=candidate.text, parse=messages.enum_value("ParseStatus", candidate.parse))
        one.flat_poses.extend(_flat(candidate.poses))
        one.flat_prev_poses.extend(_flat(candidate.prev_poses))
    if group.weights is not None:
        request.weights.traj, request.weights.fmt, request.weights.goal = group.weights
    if isinstance(group.rules, Mapping):
        try:
            json_format.ParseDict(dict(group.rules), request.rules)
        except json_format.ParseError as error:
            raise ValueError(f"rules: {error}") from error
        request.rules.SetInParent()
    elif group.rules is not None:
        request.rules.CopyFrom(group.rules)
    return request
