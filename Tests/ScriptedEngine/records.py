"""What the engine saw and produced, a record per request, kept for the tests to read."""

import time
from collections import OrderedDict
from dataclasses import asdict, dataclass, field

KEPT = 200_000
BODY_KEPT_UP_TO = 256 * 1024


def now_ms() -> float:
    """Milliseconds of the machine's monotonic clock, which is the same in every process of it."""
    return time.monotonic() * 1000


@dataclass
class Record:
    sequence: int
    port: int
    request_id: str | None
    attempt: int  # the n-th call with this request id, from 1
    method: str
    path: str
    headers: dict
    body: object  # null when it was larger than 256 KiB
    body_bytes: int
    started_ms: float = field(default_factory=now_ms)
    first_byte_ms: float | None = None
    finished_ms: float | None = None
    client_closed_ms: float | None = None
    status: int | None = None
    bytes_sent: int = 0  # of the answer's body
    chunks: int = 0
    tokens: int = 0
    end: str = "running"  # complete, cut, client closed


class Records:
    def __init__(self):
        self.all: OrderedDict[int, Record] = OrderedDict()
        self.by_id: dict[str, list] = {}
        self.sequence = 0

    def add(self, **values) -> Record:
        self.sequence += 1
        request_id = values["headers"].get("x-request-id")
        same = self.by_id.setdefault(request_id, []) if request_id else []
        record = Record(sequence=self.sequence, request_id=request_id, attempt=len(same) + 1, **values)
        same.append(record)
        self.all[record.sequence] = record
        if len(self.all) > KEPT:
            self.forget_oldest()
        return record

    def forget_oldest(self):
        _, oldest = self.all.popitem(last=False)
        same = self.by_id.get(oldest.request_id, [])
        if oldest in same:
            same.remove(oldest)
            if not same:
                del self.by_id[oldest.request_id]

    def find(self, request_id: str | None, since: int) -> list:
        found = self.by_id.get(request_id, []) if request_id else self.all.values()
        return [asdict(record) for record in found if record.sequence > since]

    def clear(self):
        self.all.clear()
        self.by_id.clear()
