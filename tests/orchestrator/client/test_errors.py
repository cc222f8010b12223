"""Failures: the same errors at a server and in process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from coe import Client, Router
from coe.client._errors import told_error
from coe.errors import (
    BudgetExceeded,
    CoeError,
    ConfigError,
    ExpertError,
    ExpertOverloaded,
    ExpertProtocolError,
    ExpertRejected,
    ExpertUnavailable,
    InvalidKey,
    InvalidRequest,
    ModelNotFound,
    NoEligibleExpert,
    RateLimited,
    RequestError,
)
from coe.testing import FakeUpstream, Fault

IMAGE = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "what is it"},
            {"type": "image_url", "image_url": {"url": "data:,"}},
        ],
    }
]


def test_an_unknown_model(client: Client) -> None:
    with pytest.raises(ModelNotFound, match=r"`nobody`.*`alpha`") as caught:
        client.chat("hello", model="nobody")
    assert caught.value.param == "model"


def test_an_unknown_field(client: Client) -> None:
    with pytest.raises(InvalidRequest, match="temprature") as caught:
        client.chat("hello", temprature=1)
    assert caught.value.param == "temprature"


def test_nobody_who_can(client: Client) -> None:
    with pytest.raises(NoEligibleExpert, match="`beta` cannot do vision"):
        client.chat(IMAGE, model="beta")
    with pytest.raises(NoEligibleExpert):
        client.route(IMAGE, model="beta")


def test_an_expert_that_cannot_be_reached(client: Client) -> None:
    with pytest.raises(ExpertUnavailable, match="`down`"):
        client.chat("hello", model="down")


def test_an_expert_that_asks_for_patience(client: Client) -> None:
    with pytest.raises(ExpertOverloaded) as caught:
        client.chat("hello", model="overloaded")
    assert caught.value.retry_after_s == 1


def test_an_expert_that_refuses(client: Client) -> None:
    with pytest.raises(ExpertRejected) as caught:
        client.chat("hello", model="rejected")
    assert (caught.value.status, caught.value.param) == (400, "temperature")


def test_an_expert_that_talks_nonsense(client: Client) -> None:
    with pytest.raises(ExpertProtocolError):
        client.chat("hello", model="malformed")


@pytest.mark.parametrize("fault", [Fault.ERROR_FRAME, Fault.TRUNCATED])
def test_a_stream_that_fails_under_way(client: Client, fault: Fault) -> None:
    with client.chat("one two three four", model=fault.value, stream=True) as stream:
        pieces: list[str] = []
        with pytest.raises(ExpertError):
            pieces.extend(stream)
        assert stream.answer.text == "".join(pieces)
        assert pieces[0].startswith("one")
    assert client.chat("still there").text == "A: still there"


def test_no_server() -> None:
    with (
        Client("http://127.0.0.1:9") as client,
        pytest.raises(
            ExpertUnavailable, match=r"No server can be reached at http://127\.0\.0\.1:9"
        ) as caught,
    ):
        client.chat("hello")
    assert caught.value.hint == "Start one with `coe serve`."


@pytest.mark.parametrize(
    "address", ["localhost:8642", "ftp://localhost", "http://", "http://a:99999", "http://a:b", ""]
)
def test_no_url(address: str) -> None:
    with pytest.raises(ConfigError, match="no URL of a server"):
        Client(address)


@pytest.fixture
def other_make() -> Iterator[FakeUpstream]:
    """An OpenAI-compatible server that is none of ours."""
    with FakeUpstream() as fake:
        yield fake


def test_a_server_of_another_make(other_make: FakeUpstream) -> None:
    with Client(other_make.base_url, api_key="sk-test") as client:
        with pytest.raises(ExpertProtocolError, match="Is this the URL of a coe server"):
            client.chat("hello")
        with pytest.raises(ExpertProtocolError, match="Is this the URL of a coe server"):
            client.chat("hello", stream=True)
    assert other_make.received[-1].header("authorization") == "Bearer sk-test"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.UNAVAILABLE, ExpertProtocolError),
        (Fault.SERVER_ERROR, CoeError),
        (Fault.UNAUTHORIZED, RequestError),
        (Fault.RESET, ExpertUnavailable),
        (Fault.RESET_MID_BODY, ExpertUnavailable),
        (Fault.NOT_HTTP, ExpertUnavailable),
        (Fault.MALFORMED, ExpertProtocolError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_a_bad_server_does_is_an_error_of_ours(
    other_make: FakeUpstream, fault: Fault, error: type[CoeError], stream: bool
) -> None:
    other_make.fault = fault
    with Client(other_make.base_url) as client, pytest.raises(CoeError) as caught:
        list(client.chat("hello", stream=True)) if stream else client.chat("hello")
    if not stream:
        assert isinstance(caught.value, error)


def test_every_error_of_a_request_comes_back_as_itself() -> None:
    def leaves(kind: type[CoeError]) -> Iterator[type[CoeError]]:
        yield from (leaf for each in kind.__subclasses__() for leaf in leaves(each))
        if not kind.__subclasses__():
            yield kind

    for kind in (*leaves(RequestError), *leaves(ExpertError)):
        told = told_error({"error": {"message": "no", "type": "t", "param": None, "code": kind.code}}, 400)
        # A kind without a code of its own comes back as the kind above it.
        assert issubclass(kind, type(told))
        assert told.code == kind.code
        assert told.message == "no"


def test_a_code_of_another_make_keeps_the_status() -> None:
    told = told_error({"error": {"message": "Wrong key.", "code": "no_such_key"}}, 401)
    assert (type(told), told.status, told.message) == (RequestError, 401, "Wrong key.")
    assert type(told_error({"error": {"message": "Oh.", "code": None}}, 500)) is CoeError
    assert type(told_error({"detail": "no envelope"}, 500)) is ExpertProtocolError


def test_the_router_raises_the_same(pool_file: object) -> None:
    router = Router.open(str(pool_file))
    with pytest.raises(ModelNotFound, match="`nobody`"):
        router.route("hello", model="nobody")
    with pytest.raises(NoEligibleExpert, match="`beta` cannot do vision"):
        router.route(IMAGE, model="beta")
    with pytest.raises(InvalidRequest, match="temprature"):
        router.route("hello", temprature=1)


@pytest.mark.parametrize("kind", [InvalidKey, BudgetExceeded])
def test_what_a_tenant_is_told_has_its_class(kind: type[RequestError]) -> None:
    error = told_error({"error": {"message": "no", "code": kind.code}}, kind.status)
    assert (type(error), error.message, error.status) == (kind, "no", kind.status)


def test_a_limit_says_when_to_come_back() -> None:
    error = told_error({"error": {"message": "no", "code": "rate_limit_exceeded"}}, 429, 7.5)
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == 7.5
