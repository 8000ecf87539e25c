"""What plain HTTP and the clients' exceptions mean, as written down by hand from the RFCs."""

import pytest

from resilience import Certainty, Policy, Verdict
from resilience._core.policy.table import class_name

VERDICTS = {"R": Verdict.RETRYABLE, "Q": Verdict.QUOTA, "F": Verdict.FATAL}
PARTS = {"not": Certainty.NOT_EXECUTED, "maybe": Certainty.MAYBE_EXECUTED}
POLICIES = {name: Policy.load(name) for name in ("memories_ai", "memos_cloud", "http")}

HTTP = {
    400: "F", 401: "F", 402: "Q", 403: "F", 404: "F", 405: "F", 408: "R", 409: "F", 410: "F",
    413: "F", 415: "F", 422: "F", 425: "R", 429: "Q", 500: "R", 501: "F", 502: "R", 503: "R",
    504: "R", 505: "F", 418: "F", 451: "F", 507: "R", 599: "R",
}  # fmt: skip
NOT_DONE = {408, 425, 429, 503, 402}


@pytest.mark.parametrize(("status", "verdict"), HTTP.items())
@pytest.mark.parametrize("name", POLICIES)
def test_plain_statuses(name, status, verdict):
    """What HTTP itself says, in every catalog; only a refusal before the work may be repeated."""
    found = POLICIES[name].classify(b"<html>", status=status)

    assert VERDICTS[verdict] == found.verdict
    assert str(status) == found.code
    if verdict == "R":
        assert (status in NOT_DONE) == (found.certainty is Certainty.NOT_EXECUTED)


EXCEPTIONS = {
    # nothing of the request can have reached the server's logic
    "R not": [
        "ConnectionRefusedError", "socket.gaierror", "socket.herror",
        "aiohttp.ClientHttpProxyError", "aiohttp.ClientConnectorError", "aiohttp.ClientConnectorDNSError",
        "aiohttp.ClientProxyConnectionError", "aiohttp.UnixClientConnectorError", "aiohttp.ConnectionTimeoutError",
        "httpx.ConnectTimeout", "httpx.PoolTimeout", "httpx.ConnectError", "httpx.ProxyError",
        "requests.ConnectTimeout", "requests.ProxyError",
        "botocore.EndpointConnectionError", "botocore.ConnectTimeoutError", "botocore.ProxyConnectionError",
    ],
    # it may have been done before the answer was lost
    "R maybe": [
        "TimeoutError", "ConnectionResetError", "ConnectionAbortedError", "BrokenPipeError", "ConnectionError", "OSError",
        "ssl.SSLEOFError", "ssl.SSLZeroReturnError", "asyncio.IncompleteReadError", "json.JSONDecodeError",
        "aiohttp.ClientError", "aiohttp.ClientConnectionError", "aiohttp.ClientConnectionResetError",
        "aiohttp.ClientOSError", "aiohttp.ServerConnectionError", "aiohttp.ServerDisconnectedError",
        "aiohttp.ServerTimeoutError", "aiohttp.SocketTimeoutError", "aiohttp.ClientPayloadError",
        "aiohttp.UploadAbortedError",
        "httpx.RequestError", "httpx.TransportError", "httpx.TimeoutException", "httpx.ReadTimeout", "httpx.WriteTimeout",
        "httpx.NetworkError", "httpx.ReadError", "httpx.WriteError", "httpx.CloseError", "httpx.ProtocolError",
        "httpx.RemoteProtocolError", "httpx.DecodingError",
        "requests.ConnectionError", "requests.ReadTimeout", "requests.Timeout", "requests.ChunkedEncodingError",
        "requests.ContentDecodingError", "requests.JSONDecodeError", "botocore.HTTPClientError",
    ],
    # local mistakes: never sent, and no second try mends them
    "F not": [
        "FileNotFoundError", "FileExistsError", "IsADirectoryError", "NotADirectoryError", "PermissionError",
        "ssl.SSLError", "ssl.SSLCertVerificationError",
        "aiohttp.WSServerHandshakeError", "aiohttp.ServerFingerprintMismatch", "aiohttp.InvalidURL",
        "aiohttp.InvalidUrlClientError", "aiohttp.NonHttpUrlClientError", "aiohttp.ClientSSLError",
        "aiohttp.ClientConnectorSSLError", "aiohttp.ClientConnectorCertificateError",
        "httpx.UnsupportedProtocol", "httpx.LocalProtocolError", "httpx.InvalidURL", "httpx.RequestNotRead",
        "requests.SSLError", "botocore.SSLError",
    ],
    # somebody answered, with something that can't be used
    "F maybe": [
        "aiohttp.ClientResponseError", "aiohttp.ContentTypeError", "aiohttp.TooManyRedirects",
        "aiohttp.RedirectClientError", "aiohttp.InvalidUrlRedirectClientError", "aiohttp.NonHttpUrlRedirectClientError",
        "aiohttp.WSMessageTypeError",
        "httpx.HTTPError", "httpx.TooManyRedirects", "httpx.HTTPStatusError", "httpx.CookieConflict", "httpx.StreamError",
        "httpx.StreamConsumed", "httpx.StreamClosed", "httpx.ResponseNotRead",
        "requests.RequestException", "requests.TooManyRedirects",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"), [(name, kind) for kind, names in EXCEPTIONS.items() for name in names]
)
def test_exception(name, expected):
    """What each exception of Python and of the clients says about the call."""
    rule = POLICIES["http"].table.exceptions[name]

    verdict, work = expected.split()
    assert (VERDICTS[verdict], PARTS[work]) == (rule.verdict, rule.certainty)


def test_every_listed_exception_has_an_expectation():
    """And the other catalogs say the same as ``http``."""
    names = {name for names in EXCEPTIONS.values() for name in names}

    for policy in POLICIES.values():
        assert names == set(policy.table.exceptions)
        assert POLICIES["http"].table.exceptions == policy.table.exceptions


def test_every_exception_of_the_clients_has_a_rule_of_its_own():
    """Nothing that aiohttp or httpx raises is left to its parent."""
    import aiohttp
    import httpx

    roots = (aiohttp.ClientError, httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)
    things = [getattr(package, name) for package in (aiohttp, httpx) for name in dir(package)]
    raised = {class_name(t) for t in things if isinstance(t, type) and issubclass(t, roots)}

    assert len(raised) > 50
    assert raised <= set(POLICIES["http"].table.exceptions)


def test_unlisted_classes_of_statuses_and_unknown():
    """4xx is fatal, 5xx may pass, and what nobody wrote down fails at once."""
    table = POLICIES["http"].table

    assert {key: rule.verdict for key, rule in table.http_families.items()} == {
        "4xx": Verdict.FATAL,
        "5xx": Verdict.RETRYABLE,
    }
    assert table.unknown.verdict == Verdict.FATAL
    assert set(HTTP) - {418, 451, 507, 599} == set(map(int, table.http))


# botocore/retries/standard.py (throttling, transient) and the names that AWS refuses keys with
AWS = {
    "http.429": [
        "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottledException",
        "TooManyRequestsException", "ProvisionedThroughputExceededException", "TransactionInProgressException",
        "RequestLimitExceeded", "BandwidthLimitExceeded", "LimitExceededException", "RequestThrottled", "SlowDown",
        "PriorRequestNotComplete", "EC2ThrottledException",
    ],
    "http.408": ["RequestTimeout", "RequestTimeoutException"],
    "http.403": ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation"],
    "http.401": [
        "ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidClientTokenId",
        "InvalidSignatureException", "SignatureDoesNotMatch", "UnrecognizedClientException",
    ],
    "http.400": ["ValidationException"],
}  # fmt: skip


@pytest.mark.parametrize(("rule", "name"), [(rule, name) for rule in AWS for name in AWS[rule]])
def test_names_of_aws(rule, name):
    """Most come under 400, and mean what another status means; the name and the words are kept."""
    body = {
        "Error": {"Code": name, "Message": "words"},
        "ResponseMetadata": {"HTTPStatusCode": 400},
    }
    found = POLICIES["http"].classify(body, status=400)

    assert (found.rule.key, found.code, found.message) == (rule, name, "words")
    assert POLICIES["http"].explain(name).rule.key == (rule if rule != "http.400" else "unknown")


def test_names_of_aws_stay_out_of_other_catalogs():
    """Who has envelopes of his own has codes of his own."""
    for name in ("memories_ai", "memos_cloud"):
        assert POLICIES[name].explain("SlowDown").matched_by == "unknown"
        assert "SlowDown" not in POLICIES[name].codes


def test_both_httpx_are_called_httpx():
    """As in the file; a class of anybody else's keeps the name of its package."""
    classes = [type("E", (), {"__module__": f"{room}.errors"}) for room in ("httpx2", "httpx", "x")]
    assert [class_name(cls) for cls in classes] == ["httpx.E", "httpx.E", "x.E"]
    assert class_name(ValueError) == "ValueError"
