"""Client of Swerve's reward service.

    from swerve import RewardClient
    scores = RewardClient("127.0.0.1:50051").score("scene-id", [poses])   # poses: 8 of (x, y, heading)

Reward functions for trainers: swerve.trl, swerve.verl, swerve.ms_swift. None of them imports its trainer.
"""

from swerve.client import RewardClient
from swerve.errors import InfrastructureError, RequestError, RewardError
from swerve.groups import Candidate, Group, Score
from swerve.parse import parse_pose3
from swerve.scenes import SceneSet
from swerve.tls import Tls

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
