"""Scene data sets as Swerve writes them (`swerve scenes generate`, `import`): ids for a training set, scenes to send."""

from __future__ import annotations

import json
import os
import struct
from typing import Any, Dict, Iterator, List

from swerve import _messages as messages


class SceneSet:
    """One directory of scene shards. Reads the index at once and a scene when it is asked for."""

    def __init__(self, directory: str) -> None:
        with open(os.path.join(directory, "index.jsonl"), encoding="utf-8") as index:
            header = json.loads(index.readline())
            self.entries: List[Dict[str, Any]] = [json.loads(line) for line in index]  # id, family, location, …
        self._shards = [os.path.join(directory, name) for name in header["shards"]]
        self._by_id = {entry["id"]: entry for entry in self.entries}

    @property
    def ids(self) -> List[str]:
        return [entry["id"] for entry in self.entries]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Any]:
        return (self[scene_id] for scene_id in self.ids)

    def __getitem__(self, scene_id: str) -> Any:
        """The swerve.v1.Scene of that id; KeyError when there is none."""
        entry = self._by_id[scene_id]
        with open(self._shards[entry["shard"]], "rb") as shard:
            shard.seek(entry["offset"])
            (length,) = struct.unpack("<Q", shard.read(8))  # a TFRecord: length, its CRC, payload, its CRC
            shard.seek(4, os.SEEK_CUR)
            return messages.Scene.FromString(shard.read(length))
