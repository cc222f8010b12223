"""Every error that coe raises, as one small tree.

CoeError
├── UserError              you made a mistake: printed without a traceback
│   ├── ConfigError        a configuration file or setting is wrong
│   ├── PluginError        a plugin is missing, not allowed or broken
│   ├── ArtifactError      a saved artifact is corrupt or does not fit
│   └── DataError          a data file is wrong, or does not allow what was asked of it
├── RequestError           this request cannot be served as asked (4xx)
│   ├── InvalidRequest     a field is wrong
│   ├── RequestTooLarge    the body is larger than the limit
│   ├── ModelNotFound      nobody of that name
│   ├── NoEligibleExpert   nobody in the pool can serve it
│   ├── InvalidKey         no API key, or one that is not known
│   ├── RateLimited        its tenant asks too much at once
│   └── BudgetExceeded     its tenant has spent what it may
└── ExpertError            an expert failed
    ├── ExpertUnavailable  refused, reset, 5xx, breaker open
    ├── ExpertTimeout      did not answer in time
    ├── ExpertOverloaded   asked us to slow down
    │   └── ExpertBusy     was not asked: it has as many requests as it may
    ├── ExpertProtocolError  answered something that is not the protocol
    └── ExpertRejected     refused this very request; another try would not help

`code` is stable: clients and scripts may depend on it. `status` is the HTTP status that the gateway
answers with. `retryable` says whether the next ranked expert may be asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class CoeError(Exception):
    """Root of the tree. `hint` is one sentence on how to mend it."""

    code: ClassVar[str] = "internal_error"
    status: int = 500
    type: ClassVar[str] = "server_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


class UserError(CoeError):
    """The user can mend it; shown without a traceback."""


class ConfigError(UserError):
    """A configuration file, key or environment variable is wrong."""

    code = "config_invalid"


class PluginError(UserError):
    """A plugin is missing, not on the allow-list, or failed to load."""

    code = "plugin_unavailable"


class ArtifactError(UserError):
    """A saved artifact is corrupt, from another schema, or made with another embedder."""

    code = "artifact_refused"


class DataError(UserError):
    """A data file is wrong, or what it holds does not allow what was asked of it."""

    code = "data_invalid"


class RequestError(CoeError):
    """The request cannot be served as asked. `param` names the field."""

    code = "invalid_request"
    status = 400
    type = "invalid_request_error"

    def __init__(self, message: str, *, param: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.param = param


class InvalidRequest(RequestError):
    """A field has the wrong type or value, or is unknown."""


class RequestTooLarge(RequestError):
    """The body is larger than `server.max_body_mb`."""

    code = "request_too_large"
    status = 413


class ModelNotFound(RequestError):
    """The `model` is neither a virtual model nor an expert."""

    code = "model_not_found"
    status = 404


class NoEligibleExpert(RequestError):
    """No expert of the pool can serve the request; the message says which requirement excluded whom."""

    code = "no_eligible_expert"
    status = 422


class InvalidKey(RequestError):
    """No API key came with the request, or one that is unknown, expired or revoked."""

    code = "invalid_api_key"
    status = 401
    type = "authentication_error"


class RateLimited(RequestError):
    """The tenant's requests or tokens a minute are used up.

    `retry_after_s` is when there is room again; None when there never is for a request of this size. `limits`
    are the `x-ratelimit-*` headers that say how much is left of what.
    """

    code = "rate_limit_exceeded"
    status = 429
    type = "rate_limit_error"

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        limits: Mapping[str, str] | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s
        self.limits = limits or {}


class BudgetExceeded(RequestError):
    """What is left of the tenant's budget, or of its share of strong experts, does not pay for the request.

    429 as OpenAI's `insufficient_quota`; unlike `RateLimited`, trying again soon does not help.
    """

    code = "budget_exceeded"
    status = 429
    type = "insufficient_quota"


class ExpertError(CoeError):
    """An expert failed. `expert` is its name in the pool."""

    code = "expert_failed"
    status = 502
    type = "expert_error"

    def __init__(
        self,
        message: str,
        *,
        expert: str | None = None,
        retry_after_s: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.expert = expert
        self.retry_after_s = retry_after_s


class ExpertUnavailable(ExpertError):
    """Refused or reset the connection, answered 5xx, or its breaker is open."""

    code = "expert_unavailable"
    status = 503
    retryable = True


class ExpertTimeout(ExpertError):
    """Did not answer within the deadline."""

    code = "expert_timeout"
    status = 504
    retryable = True


class ExpertOverloaded(ExpertError):
    """Answered 429; `retry_after_s` is what it asked for."""

    code = "expert_overloaded"
    status = 429
    retryable = True


class ExpertBusy(ExpertOverloaded):
    """Was not asked: as many requests as the configuration allows are running and waiting."""


class ExpertProtocolError(ExpertError):
    """Answered something that is not the OpenAI protocol."""

    code = "expert_protocol_error"
    retryable = True


class ExpertRejected(ExpertError):
    """Refused this request with a 4xx of its own. `status` is the expert's."""

    code = "expert_rejected"
    type = "invalid_request_error"

    def __init__(
        self, message: str, *, status: int, expert: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message, expert=expert)
        self.status = status
        self.param = param
