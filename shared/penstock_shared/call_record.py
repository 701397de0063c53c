"""What is told of a call when it has ended: who called, what, and what it came to. Never what was said."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from penstock_shared.audit_file import iso_time
from penstock_shared.principal import Principal


@dataclass(slots=True)
class CallRecord:
    """One call.

    Attributes:
        method: package.Service/Method.
        peer: the caller's address, as gRPC tells it.
        principal: the caller; None where it was not let in.
        request_id: that the service gave it.
        prompt_tokens, completion_tokens: of its answer, where there are any.
        code: name of the status that it ended with.
        ended_s: seconds since the epoch.
    """

    method: str
    peer: str
    principal: Principal | None = None
    request_id: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    code: str = ""
    ended_s: float = 0.0

    def fields(self) -> dict[str, Any]:
        """Ready for JSON."""
        principal = self.principal
        return {
            "time": iso_time(self.ended_s),
            "event": "call",
            "method": self.method,
            "code": self.code,
            "tenant": (principal.tenant or None) if principal else None,
            "auth": str(principal.method) if principal else None,
            "credential_id": (principal.credential_id or None) if principal else None,
            "request_id": self.request_id or None,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "peer": self.peer,
        }


# The call at hand, where its server keeps records.
current_call: ContextVar[CallRecord | None] = ContextVar("current_call", default=None)
