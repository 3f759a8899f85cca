"""Message classes of proto/swerve/v1, made at import from the compiled protos.

Code that protoc generates is tied to the protobuf version that made it; this works with every protobuf since 4.22, so
that the package fits into whatever environment a trainer needs.
"""

from __future__ import annotations

import importlib.resources
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_pool = descriptor_pool.DescriptorPool()
for _file in descriptor_pb2.FileDescriptorSet.FromString(
    importlib.resources.files(__package__).joinpath("protos.bin").read_bytes()
).file:
    _pool.Add(_file)


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName("swerve.v1." + name))


Scene = _message("Scene")
ScoreGroupRequest = _message("ScoreGroupRequest")
ScoreGroupReply = _message("ScoreGroupReply")
ScoreGroupsRequest = _message("ScoreGroupsRequest")
ScoreGroupsReply = _message("ScoreGroupsReply")
ScoreStreamRequest = _message("ScoreStreamRequest")
RewardRules = _message("RewardRules")
RpcStatus = _message("RpcStatus")
RetryInfo = _message("RetryInfo")


def enum_value(enum: str, name: str) -> int:
    return int(_pool.FindEnumTypeByName("swerve.v1." + enum).values_by_name[name].number)


def enum_name(enum: str, number: int) -> str:
    return str(_pool.FindEnumTypeByName("swerve.v1." + enum).values_by_number[number].name)
