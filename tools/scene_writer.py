"""Writes a scene data set as scenes/store.h reads it, shard by shard, so that an interrupted export goes on.

A finished shard is renamed into place and noted, with what it holds and what could not be exported, in export.jsonl.
The index, without which the directory is no data set, comes last.
"""

import json
import os
import struct

try:
    from google_crc32c import value as _crc32c  # a thousand times faster, where it is installed
except ImportError:
    _TABLE = []
    for _n in range(256):
        for _ in range(8):
            _n = (_n >> 1) ^ (0x82F63B78 if _n & 1 else 0)
        _TABLE.append(_n)

    def _crc32c(data):
        crc, table = 0xFFFFFFFF, _TABLE
        for byte in data:
            crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
        return crc ^ 0xFFFFFFFF


def _masked(data):
    crc = _crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


class SceneWriter:
    """One writer per directory. `done`: keys (add, skip) of earlier calls that need not be done again."""

    JOURNAL = "export.jsonl"

    def __init__(self, directory, shard_scenes=64):
        self.directory, self.shard_scenes = directory, shard_scenes
        os.makedirs(directory, exist_ok=True)
        if os.path.exists(self._path("index.jsonl")):
            raise FileExistsError(f"{directory} holds a finished data set; give another directory or remove it")
        self.shards, self.entries, self.done, self.skipped = [], [], set(), []
        self._keys, self._pending, self._new, self._new_skipped = [], bytearray(), [], []
        if os.path.exists(self._path(self.JOURNAL)):
            with open(self._path(self.JOURNAL), encoding="utf-8") as journal:
                for line in journal:
                    if not line.endswith("\n"):
                        break  # cut off while it was written: its shard is written again
                    self._take(json.loads(line))
        self._ids = {entry["id"] for entry in self.entries}

    def _path(self, name):
        return os.path.join(self.directory, name)

    def _take(self, note):
        if note["shard"] is not None:
            self.shards.append(note["shard"])
        self.entries += note["entries"]
        self.done.update(note["keys"])
        self.skipped += note["skipped"]

    def add(self, key, scene):
        """A scene; what is added for one key is kept together."""
        if scene.id in self._ids:
            raise ValueError(f"scene {scene.id} is there already")
        payload = scene.SerializeToString()
        length = struct.pack("<Q", len(payload))
        self._ids.add(scene.id)
        self._new.append({"id": scene.id, "shard": len(self.shards), "offset": len(self._pending), "length": len(payload),
                          "family": scene.family, "location": scene.location, "label": scene.label})
        self._pending += length + _masked(length) + payload + _masked(payload)
        self._keys.append(key)
        if len(self._new) >= self.shard_scenes:
            self.flush()

    def skip(self, key, why):
        """Could not be exported: not tried again by the next call either."""
        self._keys.append(key)
        self._new_skipped.append([key, why])

    def flush(self):
        if not self._keys:
            return
        name = None
        if self._new:
            name = f"scenes-{len(self.shards):05d}.tfrecord"
            self._write(name, bytes(self._pending))
        note = {"shard": name, "entries": self._new, "keys": self._keys, "skipped": self._new_skipped}
        self._mend_journal()
        with open(self._path(self.JOURNAL), "a", encoding="utf-8") as journal:
            journal.write(json.dumps(note) + "\n")
            journal.flush()
            os.fsync(journal.fileno())
        self._take(note)
        self._keys, self._pending, self._new, self._new_skipped = [], bytearray(), [], []

    def _mend_journal(self):
        path = self._path(self.JOURNAL)
        if os.path.exists(path):
            with open(path, "rb+") as journal:
                content = journal.read()
                journal.truncate(content.rfind(b"\n") + 1)

    def _write(self, name, content):
        with open(self._path(name + ".tmp"), "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        os.replace(self._path(name + ".tmp"), self._path(name))

    def finish(self):
        self.flush()
        if not self.entries:
            raise ValueError("nothing could be exported")
        lines = [{"format": "swerve-scenes-1", "scenes": len(self.entries), "shards": self.shards}, *self.entries]
        self._write("index.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
        os.remove(self._path(self.JOURNAL))
