"""RewardClient: groups of trajectories to scores over gRPC.

A failure of ours is an exception, never a score: InfrastructureError when the service could not answer in time
(retried before), RequestError when it can never answer this (unknown scene, unusable request). A trajectory that cannot
be scored is an outcome of the policy: a Score with valid=False and a reason.
"""

from __future__ import annotations

import os
import random
import threading
import time
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import grpc
from google.protobuf import json_format

from swerve import _messages as messages
from swerve._stream import MOST_BYTES, Stream, StreamBroken

Pose = Sequence[float]  # x (m, forward), y (m, left), heading (rad, counter-clockwise), ego frame at t = 0
Poses = Sequence[Pose]  # 8 of them, 0.5 … 4.0 s
# What is added to the weighted sum, as in the section reward.rules of a configuration:
# {"functions": ["spanvla"], "spanvla": {"w_neg": 0.5}}; or a swerve.v1.RewardRules.
Rules = Union[Mapping[str, Any], Any]

_METHOD = "/swerve.v1.RewardService/ScoreGroup"
_BATCH_METHOD = "/swerve.v1.RewardBatchService/ScoreGroups"
_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
_PDM_RULES = {"v1": "V1", "v1.0": "V1_0", "v2": "V2"}
_RATE_LIMIT = "rate limit: "  # what a refusal by limits.calls_per_second begins with
_GRACE = 1.0  # s that the service may take longer than a group's timeout to say so
# How a stream ends when it breaks, rather than for something that a caller did.
_BROKEN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
}


class RewardError(RuntimeError):
    """No score. `code` is the gRPC status code's name."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class _Failure(Exception):
    """One attempt without a score. `delay`: s after which the service wants to be asked again, where it says so."""

    def __init__(self, code: Any, details: str, delay: Optional[float] = None) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.delay = delay


class InfrastructureError(RewardError):
    """The service is away, overloaded or too slow; the request itself is fine."""


class RequestError(RewardError):
    """The request can never be answered: unknown scene, bad arguments, too large."""


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


def _score(reward: Any) -> Score:
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


def _delay_in(status: Any) -> Optional[float]:
    """Of a swerve.v1.RpcStatus: seconds after which the service wants to be asked again; None when it did not say."""
    for detail in status.details:
        if detail.type_url == _RETRY_INFO:
            delay = messages.RetryInfo.FromString(detail.value).retry_delay
            return float(delay.seconds + delay.nanos * 1e-9)
    return None


def _retry_delay(error: Any) -> Optional[float]:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return _delay_in(messages.RpcStatus.FromString(value))
    return None


@dataclass(frozen=True)
class Group:
    """What RewardClient.score takes, for score_groups."""

    scene: Union[str, bytes, Any]
    candidates: Sequence[Union[Candidate, Poses]]
    weights: Optional[Tuple[float, float, float]] = None
    rules: Optional[Rules] = None
    pdm_rules: Optional[str] = None


def _request(group: Group) -> Any:
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
        for x, y, heading in candidate.poses:
            one.poses.add(x=x, y=y, heading=heading)
        for x, y, heading in candidate.prev_poses:
            one.prev_poses.add(x=x, y=y, heading=heading)
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


def _code(number: int) -> Any:
    return next((code for code in grpc.StatusCode if code.value[0] == number), grpc.StatusCode.UNKNOWN)


@dataclass(frozen=True)
class Tls:
    """Certificates for a service that asks for them (security.certs): paths of PEM files, read when a channel opens.

    server_name: what the service's certificate must say; certificates of `swerve certs init` name the role.
    """

    authority: str
    certificate: str
    key: str
    server_name: str = "reward.swerve"

    @classmethod
    def of_directory(cls, directory: Union[str, "os.PathLike[str]"]) -> "Tls":
        """The caller's three files of a directory that `swerve certs init` made: ca.crt, client.crt, client.key."""
        paths = (os.path.join(os.fspath(directory), name) for name in ("ca.crt", "client.crt", "client.key"))
        return cls(*paths)

    def _credentials(self) -> Any:
        def read(path: str) -> bytes:
            with open(path, "rb") as file:
                return file.read()

        return grpc.ssl_channel_credentials(
            root_certificates=read(self.authority),
            private_key=read(self.key),
            certificate_chain=read(self.certificate),
        )


class RewardClient:
    """Thread-safe; may be pickled and used after a fork. `timeout` (s) covers a call with all its retries.

    Threads that share one client share one stream: while one group is being scored, those of the others go over it, several
    to a message.

    tls: certificates, where the service asks for them; None: plain.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:50051",
        *,
        timeout: float = 120.0,
        tls: Optional[Tls] = None,
        max_message_mb: int = 64,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.address = address
        self.timeout = timeout
        self.tls = tls
        self._max_message_mb = max_message_mb
        self._sleep = sleep
        self._lock = threading.Lock()
        self._channel: Any = None
        self._channel_pid = 0
        self._forget_stream()

    def score(
        self,
        scene: Union[str, bytes, Any],
        candidates: Sequence[Union[Candidate, Poses]],
        *,
        weights: Optional[Tuple[float, float, float]] = None,
        rules: Optional[Rules] = None,
        pdm_rules: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> List[Score]:
        """Scores a group of one scene, in the order of the candidates.

        scene: its id in the service's data sets, or the scene itself (swerve.v1.Scene, or its bytes).
        weights: of (traj, fmt, goal) in Score.total; None: as the service is configured. A goal weight other than 0
        needs a scene with a ground truth.
        rules: reward functions; None: as the service is configured; {}: none. They see exactly the candidates of this
        call as one group. ValueError: a name or value that rules do not have.
        pdm_rules: "v1" (PDMS of NAVSIM v1.1), "v1.0" or "v2" (EPDMS); None: as the service is configured.
        """
        request = _request(Group(scene, candidates, weights, rules, pdm_rules))
        until = time.monotonic() + (self.timeout if timeout is None else timeout)
        return [_score(reward) for reward in self._score_group(request, until).rewards]

    def score_groups(
        self, groups: Sequence[Group], *, timeout: Optional[float] = None
    ) -> List[Union[List[Score], RewardError]]:
        """Scores several groups, of any scenes, in one call: less work for both sides than a call for each.

        What score would return for each group, in order; where it would raise a RewardError, the error stands in the
        group's place. Groups that the service has no room for are sent again, without the others. Raises only what
        concerns the call as a whole.
        """
        requests = [_request(group) for group in groups]
        until = time.monotonic() + (self.timeout if timeout is None else timeout)
        out: List[Any] = [None] * len(requests)
        left = list(range(len(requests)))
        while left:
            batch = messages.ScoreGroupsRequest(groups=[requests[i] for i in left])
            reply = self._call(_BATCH_METHOD, batch, messages.ScoreGroupsReply, until)
            refused, wait = [], 0.0
            for i, answer in zip(left, reply.answers):
                if answer.HasField("reply"):
                    out[i] = [_score(reward) for reward in answer.reply.rewards]
                    continue
                delay = _delay_in(answer.error)
                out[i] = self._error(_code(answer.error.code), answer.error.message, delay is not None)
                if delay is not None:
                    refused.append(i)
                    wait = max(wait, delay * random.uniform(1.0, 1.5))
            left = refused if time.monotonic() + wait < until else []
            if left:
                self._sleep(wait)
        return out

    def healthy(self, timeout: float = 1.0) -> bool:
        """True when the service answers and serves."""
        check = self._open().unary_unary(
            "/grpc.health.v1.Health/Check", request_serializer=bytes, response_deserializer=bytes
        )
        try:
            return bool(check(b"", timeout=timeout) == b"\x08\x01")
        except grpc.RpcError:
            return False

    def close(self) -> None:
        with self._lock:
            if self._channel is not None and self._channel_pid == os.getpid():
                self._channel.close()
            self._channel = None
            self._forget_stream()

    def _forget_stream(self) -> None:
        self._stream: Optional[Stream] = None
        self._stream_channel: Any = None  # that it is on
        self._streams = True  # as far as is known, the service has them
        self._asking = 0  # threads

    def __enter__(self) -> "RewardClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> Dict[str, Any]:
        state = dict(self.__dict__, _channel=None, _stream=None, _stream_channel=None, _asking=0)
        del state["_lock"]
        return state

    def __setstate__(self, state: Dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def _open(self) -> Any:
        with self._lock:
            if self._channel is None or self._channel_pid != os.getpid():  # a channel does not survive a fork
                size = self._max_message_mb << 20
                options: List[Tuple[str, Any]] = [
                    ("grpc.max_send_message_length", size),
                    ("grpc.max_receive_message_length", size),
                    ("grpc.max_reconnect_backoff_ms", 2000),
                    ("grpc.use_local_subchannel_pool", 1),
                ]
                if self.tls is None:
                    self._channel = grpc.insecure_channel(self.address, options=options)
                else:
                    options.append(("grpc.ssl_target_name_override", self.tls.server_name))
                    self._channel = grpc.secure_channel(self.address, self.tls._credentials(), options=options)
                self._channel_pid = os.getpid()
            return self._channel

    def _score_group(self, request: Any, until: float) -> Any:
        """A ScoreGroupReply: by a call of its own where it is the only one, over the stream beside others."""
        with self._lock:
            self._asking += 1
            streamed = self._asking > 1 and self._streams and request.ByteSize() <= MOST_BYTES
        try:
            if not streamed:
                return self._call(_METHOD, request, messages.ScoreGroupReply, until)
            try:
                return self._retry(lambda: self._ask(request, until), until)
            except StreamBroken:  # what the service says to a call of its own is about this group
                return self._call(_METHOD, request, messages.ScoreGroupReply, until)
        finally:
            with self._lock:
                self._asking -= 1

    def _ask(self, request: Any, until: float) -> Any:
        """One attempt over the stream."""
        channel = self._open()
        with self._lock:
            if self._stream is None or self._stream.broken or self._stream_channel is not channel:
                self._stream, self._stream_channel = Stream(channel), channel
            stream = self._stream
        left = max(until - time.monotonic(), 0.001)
        id, future = stream.ask(request, left)
        try:
            answer = future.result(timeout=left + _GRACE)
        except futures.TimeoutError as error:
            stream.cancel(id)
            raise _Failure(grpc.StatusCode.DEADLINE_EXCEEDED, f"no answer within {left:.1f} s") from error
        except StreamBroken as broken:
            if broken.code == grpc.StatusCode.UNIMPLEMENTED:
                self._streams = False  # a service older than streams
                raise
            if broken.code in _BROKEN:
                raise _Failure(grpc.StatusCode.UNAVAILABLE, broken.details) from broken
            raise
        if answer.HasField("reply"):
            return answer.reply
        raise _Failure(_code(answer.error.code), answer.error.message, _delay_in(answer.error))

    def _call(self, method: str, request: Any, reply: Any, until: float) -> Any:
        def once() -> Any:
            stub = self._open().unary_unary(
                method,
                request_serializer=type(request).SerializeToString,
                response_deserializer=reply.FromString,
            )
            try:
                return stub(request, timeout=max(until - time.monotonic(), 0.001))
            except grpc.RpcError as error:
                raise _Failure(error.code(), error.details() or "", _retry_delay(error)) from error

        return self._retry(once, until)

    def _retry(self, attempt: Callable[[], Any], until: float) -> Any:
        backoff = 0.1
        while True:
            try:
                return attempt()
            except _Failure as failure:
                wait: Optional[float] = None
                if failure.code == grpc.StatusCode.UNAVAILABLE:
                    wait, backoff = backoff, min(2 * backoff, 5.0)
                elif failure.code == grpc.StatusCode.RESOURCE_EXHAUSTED:
                    wait = failure.delay
                    if wait is None and failure.details.startswith(_RATE_LIMIT):
                        wait, backoff = backoff, min(2 * backoff, 5.0)
                    # None: the message is too large, which no waiting changes.
                if wait is not None:
                    wait *= random.uniform(1.0, 1.5)  # those refused together must not come back together
                    if time.monotonic() + wait < until:
                        self._sleep(wait)
                        continue
                raise self._error(failure.code, failure.details, wait is not None) from failure

    def _error(self, code: Any, details: str, tried_again: bool) -> RewardError:
        bad = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED}
        if code in bad or (code == grpc.StatusCode.RESOURCE_EXHAUSTED and not tried_again):
            return RequestError(code.name, details)
        return InfrastructureError(code.name, f"{details} (reward service at {self.address})")
