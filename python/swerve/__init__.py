"""Client of Swerve's reward service.

    from swerve import RewardClient
    scores = RewardClient("127.0.0.1:50051").score("scene-id", [poses])   # poses: 8 of (x, y, heading)

Reward functions for trainers: swerve.trl, swerve.verl, swerve.ms_swift. None of them imports its trainer.
"""

from swerve.client import Candidate, Group, InfrastructureError, RequestError, RewardClient, RewardError, Score, Tls
from swerve.parse import parse_pose3
from swerve.scenes import SceneSet

__all__ = [
    "Candidate",
    "Group",
    "InfrastructureError",
    "RequestError",
    "RewardClient",
    "RewardError",
    "SceneSet",
    "Score",
    "Tls",
    "parse_pose3",
]
