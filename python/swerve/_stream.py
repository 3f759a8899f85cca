"""One call of RewardBatchService.ScoreStream: the groups of many threads in flight at once, several to a message."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any, Dict, Iterator, List, Optional, Tuple

import grpc

from swerve import _messages as messages

METHOD = "/swerve.v1.RewardBatchService/ScoreStream"
MOST_BYTES = 512 << 10  # of a message; a larger group does not belong here, for it could end the stream for all


class StreamBroken(Exception):
    """The stream ended before an answer. `code`: why; the group may be asked anew on another one."""

    def __init__(self, code: Any, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class Stream:
    """Thread-safe. Opens at once, without waiting for the service; `broken` for ever after the first error."""

    def __init__(self, channel: Any) -> None:
        self._lock = threading.Condition()
        self._waiting: List[bytes] = []  # elements of ScoreStreamRequest, to be sent
        self._asked: Dict[int, "Future[Any]"] = {}
        self._last_id = 0
        self._end: Optional[StreamBroken] = None
        stub = channel.stream_stream(METHOD, request_serializer=bytes, response_deserializer=messages.ScoreGroupsReply.FromString)
        self._call = stub(self._messages())
        threading.Thread(target=self._read, name="swerve-stream", daemon=True).start()

    @property
    def broken(self) -> bool:
        return self._end is not None

    def ask(self, request: Any, timeout: float) -> "Tuple[int, Future[Any]]":
        """An id, and a swerve.v1.GroupAnswer to come; its exception is StreamBroken. The service keeps `timeout` (s)."""
        future: "Future[Any]" = Future()
        message = messages.ScoreStreamRequest()
        group = message.groups.add(timeout_ms=max(1, min(int(1e3 * timeout), (1 << 32) - 1)))
        group.group.CopyFrom(request)
        with self._lock:
            self._last_id += 1
            group.id = self._last_id
            if self._end is not None:
                future.set_exception(self._end)
                return group.id, future
            self._asked[group.id] = future
            self._waiting.append(message.SerializeToString())
            self._lock.notify()
        return group.id, future

    def cancel(self, id: int) -> None:
        """Nobody waits for that answer any more."""
        with self._lock:
            if self._asked.pop(id, None) is not None:
                self._waiting.append(messages.ScoreStreamRequest(cancelled=[id]).SerializeToString())
                self._lock.notify()

    def close(self) -> None:
        self._call.cancel()

    def _messages(self) -> Iterator[bytes]:
        while True:
            with self._lock:
                while not self._waiting and self._end is None:
                    self._lock.wait()
                if self._end is not None:
                    return
                size, n = 0, 0
                while n < len(self._waiting) and (n == 0 or size + len(self._waiting[n]) <= MOST_BYTES):
                    size += len(self._waiting[n])
                    n += 1
                message = b"".join(self._waiting[:n])  # one message after the other is one message
                del self._waiting[:n]
            yield message

    def _read(self) -> None:
        end = StreamBroken(grpc.StatusCode.UNAVAILABLE, "the reward service ended the stream")
        try:
            for reply in self._call:
                with self._lock:
                    found = [(self._asked.pop(answer.id, None), answer) for answer in reply.answers]
                for future, answer in found:
                    if future is not None:
                        future.set_result(answer)
        except grpc.RpcError as error:
            end = StreamBroken(error.code(), error.details() or "")
        finally:
            with self._lock:
                self._end = end
                left, self._asked = list(self._asked.values()), {}
                self._lock.notify_all()
            for future in left:
                future.set_exception(end)
