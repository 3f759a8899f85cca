"""Reads a NAVSIM submission pickle without running anything in it.

A pickle can call whatever its author likes, and submissions come from strangers. This unpickler knows six names and
stands something harmless in for each: trajectories and samplings become plain records, arrays are decoded here from
their bytes (numbers alone). Any other name ends the reading.
"""

import collections
import math
import pickle
import struct

_MAX_NUMBERS = 1 << 20  # of one array


class RefusedPickle(ValueError):
    """The pickle is not a plain submission."""


class _Record:
    """A dataclass's state, and no behaviour."""

    def __setstate__(self, state):
        if not isinstance(state, dict):
            raise RefusedPickle("a record's state is no dictionary")
        self.__dict__.update(state)


class _Trajectory(_Record):
    pass


class _Sampling(_Record):
    pass


class _Dtype:
    """numpy.dtype of one kind of number."""

    def __init__(self, name, *_):
        self.name, self.order = str(name).lstrip("<>=|"), "<"
        if self.name not in ("f4", "f8", "i4", "i8"):
            raise RefusedPickle(f"an array of type {name!r}; trajectories are float32 or float64")

    def __setstate__(self, state):
        self.order = ">" if isinstance(state, tuple) and len(state) > 1 and state[1] == ">" else "<"

    def decode(self, raw, count):
        if not isinstance(raw, (bytes, bytearray, memoryview, pickle.PickleBuffer)):
            raise RefusedPickle("an array's content is no string of bytes")
        letter = {"f4": "f", "f8": "d", "i4": "i", "i8": "q"}[self.name]
        layout = f"{self.order}{count}{letter}"
        if len(bytes(raw)) != struct.calcsize(layout):
            raise RefusedPickle("an array's content does not fit its shape")
        return [float(value) for value in struct.unpack(layout, bytes(raw))]


class _Array:
    """numpy.ndarray as nested lists of numbers (`values`)."""

    def __init__(self, *_):
        self.values = []

    def fill(self, shape, dtype, fortran, raw):
        if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise RefusedPickle("an array's shape or type is malformed")
        count = math.prod(shape)
        if count > _MAX_NUMBERS or len(shape) > 3:
            raise RefusedPickle(f"an array of shape {shape}")
        flat = dtype.decode(raw, count)
        if fortran and len(shape) == 2:
            flat = [flat[column * shape[0] + row] for row in range(shape[0]) for column in range(shape[1])]
        elif fortran and len(shape) > 2:
            raise RefusedPickle("an array in Fortran order of more than two dimensions")
        for n in reversed(shape[1:]):
            flat = [flat[i : i + n] for i in range(0, len(flat), n)] if n else []
        self.values = flat
        return self

    def __setstate__(self, state):
        _, shape, dtype, fortran, raw = state
        self.fill(shape, dtype, fortran, raw)


def _from_buffer(raw, dtype, shape, order="C"):
    return _Array().fill(tuple(shape), dtype, order == "F", raw)


def _scalar(dtype, raw):
    return dtype.decode(raw, 1)[0]


def _bytes_of(text, encoding):  # how protocols 0 to 2 write bytes
    if encoding not in ("latin1", "latin-1"):
        raise RefusedPickle(f"an encoding {encoding!r}")
    return text.encode("latin1")


class _NdarrayName:
    """Only ever handed to _reconstruct."""


_NAMES = {
    ("navsim.common.dataclasses", "Trajectory"): _Trajectory,
    ("nuplan.planning.simulation.trajectory.trajectory_sampling", "TrajectorySampling"): _Sampling,
    ("numpy", "ndarray"): _NdarrayName,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _bytes_of,
    ("collections", "OrderedDict"): collections.OrderedDict,
}
for _core in ("numpy.core", "numpy._core"):
    _NAMES[(_core + ".multiarray", "_reconstruct")] = _Array
    _NAMES[(_core + ".multiarray", "scalar")] = _scalar
    _NAMES[(_core + ".numeric", "_frombuffer")] = _from_buffer


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        try:
            return _NAMES[(module, name)]
        except KeyError:
            raise RefusedPickle(
                f"the pickle names {module}.{name}, which no submission needs; it was not run"
            ) from None

    def persistent_load(self, pid):
        raise RefusedPickle("the pickle refers to objects outside itself")


def _plan(token, trajectory):
    """8 poses [x, y, heading], or a sentence that says why not."""
    poses = getattr(trajectory, "poses", None)
    poses = poses.values if isinstance(poses, _Array) else None
    sampling = getattr(trajectory, "trajectory_sampling", None)
    interval = getattr(sampling, "interval_length", None) if sampling is not None else 0.5
    if not isinstance(trajectory, _Trajectory) or poses is None:
        return None, f"{token}: no trajectory of poses"
    if not poses or any(not isinstance(pose, list) or len(pose) != 3 for pose in poses):
        return None, f"{token}: poses are not rows of x, y, heading"
    if not isinstance(interval, float) or not math.isclose(interval, 0.5):
        return None, f"{token}: poses every {interval} s; only 0.5 s can be scored here"
    return poses, None


def _json_number(value):
    return value if math.isfinite(value) else None


def read_submission(file, name=None):
    """(submission for `swerve score --submission`, problems). RefusedPickle: the file is none.

    Takes {"predictions": [{token: Trajectory}]}, the later {"first_stage_predictions", "second_stage_predictions"}, or
    the dictionary of trajectories alone. Of several seeds the first counts.
    """
    try:
        data = _Unpickler(file).load()
    except RefusedPickle:
        raise
    except Exception as error:  # whatever a damaged pickle does to the reader
        raise RefusedPickle(f"not a readable pickle: {error}") from error
    if not isinstance(data, dict):
        raise RefusedPickle("the pickle holds no dictionary")
    problems, plans = [], {}
    stages = [data[key] for key in ("predictions", "first_stage_predictions", "second_stage_predictions") if key in data]
    if not stages and all(isinstance(trajectory, _Trajectory) for trajectory in data.values()):
        stages = [[data]]
    for stage in stages:
        if isinstance(stage, dict):
            stage = [stage]
        if not isinstance(stage, list) or not all(isinstance(seed, dict) for seed in stage):
            raise RefusedPickle("predictions must be a list of dictionaries of trajectories")
        if len(stage) > 1:
            problems.append(f"{len(stage)} seeds of predictions; the first is taken")
        for token, trajectory in (stage[0] if stage else {}).items():
            poses, problem = _plan(token, trajectory)
            if problem is not None:
                problems.append(problem)
            plans[str(token)] = [[_json_number(v) for v in pose] for pose in poses or []]
    if not plans:
        raise RefusedPickle("the pickle holds no predictions")
    team = data.get("team_name")
    return {"schema": 1, "name": name or (team if isinstance(team, str) and team else "submission"), "submission": plans}, problems
