"""What happens to a body: it becomes a line of the journal or of the reject journal, durably."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ingest_service.accept.rejects import Sender, reject_line
from ingest_service.jsontext import NotAnObject, one_line, parse_object
from millrace_ports.journal import Appended, GroupCommitter
from millrace_runtime.tracing import current


@dataclass(frozen=True, slots=True)
class Accepted:
    """The body is durable at `line` of the journal."""

    appended: Appended
    line: int


_TRACED_LINES = 16
"""Lines of one call, the first ones, that carry its trace on: thousands may come in one call."""

Outcome = Accepted | NotAnObject
"""Either way the body is durable: in the journal, or in the reject journal because of the error."""


class Intake:
    """Routes bodies to the two journals (`LAKE-12`); used by both edges of the door.

    Every method returns only when what it took is on stable storage, and raises PortError otherwise: then
    nothing may be taken as stored, and a repeat is harmless (`LAKE-10`).
    """

    def __init__(
        self, journal: GroupCommitter, rejected: GroupCommitter, *, now_ms: Callable[[], int]
    ) -> None:
        self.journal = journal
        self.rejected = rejected
        self._now_ms = now_ms

    async def take(
        self, body: bytes, request_id: str, client_ip: str | None, content_type: str | None
    ) -> Outcome:
        """Keep one body."""
        try:
            parse_object(body)
        except NotAnObject as refusal:
            sender = Sender(request_id, client_ip, content_type)
            await self.rejected.append(reject_line(body, refusal, sender, received_at_ms=self._now_ms()))
            return refusal
        text = one_line(body)
        if current.get() is None:
            appended, line = await self.journal.append(text)
        else:
            appended, line = await self._append([text])
        return Accepted(appended, line)

    async def take_all(self, bodies: Sequence[bytes], sender: Sender) -> list[Outcome]:
        """Keep several bodies; outcomes in their order."""
        refusals: dict[int, NotAnObject] = {}
        lines: list[bytes] = []
        rejects: list[bytes] = []
        for index, body in enumerate(bodies):
            try:
                parse_object(body)
            except NotAnObject as refusal:
                refusals[index] = refusal
                rejects.append(reject_line(body, refusal, sender, received_at_ms=self._now_ms()))
            else:
                lines.append(one_line(body))
        if rejects:
            await self.rejected.append_all(rejects)
        outcomes: list[Outcome] = []
        appended, line = await self._append(lines) if lines else (None, 0)
        for index in range(len(bodies)):
            refused = refusals.get(index)
            if refused is not None:
                outcomes.append(refused)
            else:
                assert appended is not None
                outcomes.append(Accepted(appended, line))
                line += 1
        return outcomes

    async def _append(self, lines: Sequence[bytes]) -> tuple[Appended, int]:
        """Append them; for a sampled request in a span, which whoever reads the lines is told of."""
        if (request := current.get()) is None:
            return await self.journal.append_all(lines)
        with request.child("append webhook.messages", "producer") as span:
            traced = range(min(len(lines), _TRACED_LINES))
            appended, line = await self.journal.append_all(lines, dict.fromkeys(traced, span.traceparent))
            span.set("millrace.lines", len(lines))
            span.set("millrace.origin", f"{appended.door}/{appended.day}/{line}/0")
            return appended, line
