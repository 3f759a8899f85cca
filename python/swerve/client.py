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
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import grpc

from swerve import _messages as messages
from swerve._stream import MOST_BYTES, Stream, StreamBroken
from swerve.errors import InfrastructureError, RequestError, RewardError
from swerve.groups import Candidate, Group, Poses, Rules, Score, poses_were_read, request_of, score_of
from swerve.tls import Tls

_METHOD = "/swerve.v1.RewardService/ScoreGroup"
_BATCH_METHOD = "/swerve.v1.RewardBatchService/ScoreGroups"
_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
_RATE_LIMIT = "rate limit: "  # what a refusal by limits.calls_per_second begins with
_GRACE = 1.0  # s that the service may take longer than a group's timeout to say so
# How a stream ends when it breaks, rather than for something that a caller did.
_BROKEN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
}


class _Failure(Exception):
    """One attempt without a score. `delay`: s after which the service wants to be asked again, where it says so."""

    def __init__(self, code: Any, details: str, delay: Optional[float] = None) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.delay = delay


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


def _code(number: int) -> Any:
    return next((code for code in grpc.StatusCode if code.value[0] == number), grpc.StatusCode.UNKNOWN)


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
        request = request_of(Group(scene, candidates, weights, rules, pdm_rules))
        until = time.monotonic() + (self.timeout if timeout is None else timeout)
        scores = self._scores(request, self._score_group(request, until))
        if isinstance(scores, RewardError):
            raise scores
        return scores

    def score_groups(
        self, groups: Sequence[Group], *, timeout: Optional[float] = None
    ) -> List[Union[List[Score], RewardError]]:
        """Scores several groups, of any scenes, in one call: less work for both sides than a call for each.

        What score would return for each group, in order; where it would raise a RewardError, the error stands in the
        group's place. Groups that the service has no room for are sent again, without the others. Raises only what
        concerns the call as a whole.
        """
        requests = [request_of(group) for group in groups]
        until = time.monotonic() + (self.timeout if timeout is None else timeout)
        out: List[Any] = [None] * len(requests)
        left = list(range(len(requests)))
        while left:
            batch = messages.ScoreGroupsRequest(groups=[requests[i] for i in left])
            reply = self._call(_BATCH_METHOD, batch, messages.ScoreGroupsReply, until)
            refused, wait = [], 0.0
            for i, answer in zip(left, reply.answers):
                if answer.HasField("reply"):
                    out[i] = self._scores(requests[i], answer.reply)
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
                    self._channel = grpc.secure_channel(self.address, self.tls.credentials(), options=options)
                self._channel_pid = os.getpid()
            return self._channel

    def _scores(self, request: Any, reply: Any) -> Union[List[Score], RewardError]:
        if poses_were_read(request, reply):
            return [score_of(reward) for reward in reply.rewards]
        return self._error(
            grpc.StatusCode.UNIMPLEMENTED,
            f"the reward service at {self.address} is older than this client and does not read its poses; "
            "install the package that came with it",
            False,
        )

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
