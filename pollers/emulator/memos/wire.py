"""What MemOS Cloud sends: codes, the envelope, and the events of a stream.

Errors come with HTTP 200 and a number in `code`.  The messages are those of the documents' table of
error codes, and below it those that only newer pages have.
"""

from typing import Any

from pollers.emulator.surface import EVENTS, Code, Payload, Surface, dump, enveloped

OK = 0
LEGACY_OK = 200
BAD_PARAMETERS = 40000
EMPTY = 40002
EMPTY_LIST = 40003
BAD_TYPE = 40006
BAD_FILE_TYPE = 40007
BAD_BASE64 = 40009
LONG_USER = 40010
LONG_CONVERSATION = 40011
BAD_RELATIVITY = 40012
NO_KEY = 40130
BAD_KEY = 40132
TOO_MANY = 40300
LONG_CHAT = 40303
LONG_INPUT = 40305
NO_MEMORY = 40307
NO_USER = 40308
TOO_MANY_TOKENS = 40309
NO_ENDPOINT = 50000
TOO_MANY_FILES = 50103
LARGE_FILE = 50106
NO_BASE = 50120
TOO_MANY_BASES = 50121
NO_TASK = 50131

MESSAGES = {
    OK: "ok",
    40000: "Required parameters missing or format invalid",
    40001: "Requested resource (e.g., file, project) validation failed",
    40002: "Parameter cannot be empty",
    40003: "Parameter is empty",
    40004: "Callback status must be 'success' or 'fail'",
    40005: "Callback origin_type not supported",
    40007: "Uploaded file type not supported",
    40008: "Base64 content contains invalid characters",
    40010: "User ID exceeds length limit",
    40020: "Project ID format invalid",
    40021: "Project does not exist or has been revoked",
    40030: "API Key name too long",
    40100: "Not logged in or session expired",
    40101: "No permission to operate this resource",
    40102: "Username or account already exists",
    40103: "Specified user does not exist",
    40110: "Verification code expired",
    40111: "Verification code error",
    40112: "Too many verification code errors, locked for 10 min",
    40113: "Duplicate verification code requests within 60s",
    40114: "Daily verification code limit exceeded",
    40130: "Request missing API Key",
    40132: "API Key invalid or disabled",
    40300: "API call frequency limit exceeded",
    40301: "Chat Request Token total limit exceeded",
    40302: "Chat Response Token total limit exceeded",
    40303: "Single chat length exceeds model limit",
    40304: "Account total API call limit reached",
    40305: "Input content exceeds single Token limit",
    40307: "Memory for deletion does not exist",
    50000: "Internal server error",
    50004: "Memory service temporarily unavailable",
    50005: "Search service temporarily unavailable",
    50011: "SSE connection failed",
    50100: "File ID does not exist",
    50103: "Knowledge base file count limit exceeded",
    50104: "Single file size limit exceeded",
    50105: "Knowledge base total capacity limit exceeded",
    50106: "Single file exceeds 100MB",
    50107: "File format corrupted or mismatch",
    50108: "Knowledge base capacity reached version limit",
    50110: "File does not belong to current knowledge base",
    50120: "Knowledge base ID does not exist",
    50121: "Knowledge base count limit exceeded",
    50123: "Knowledge base does not belong to current project",
    40006: "Unsupported type",
    40009: "Invalid Base64 format",
    40011: "Conversation ID exceeds length limit",
    40012: "relativity is invalid",
    40013: "Total length of messages exceeds the limit",
    40306: "delete_memory authentication failed",
    40308: "User for deletion does not exist",
    40309: "Token usage exceeds the per-time-window limit",
    50002: "Operation failed",
    50131: "Task not found",
    50143: "Failed to add memory",
    50144: "Failed to add message",
    50145: "Failed to add feedback",
}

_SCHEME = "token "


def success(data: Any, *, code: int = OK) -> Payload:
    """The envelope of a success; `code=200` is its legacy spelling."""
    return {"code": code, "message": "ok", "data": data}


def failure(code: Code, message: str | None = None) -> Payload:
    """The envelope of an error; the code is a number on the wire, however it was given."""
    number: Code = int(code) if str(code).isdigit() else code
    if message is None:
        message = MESSAGES.get(number, "error") if isinstance(number, int) else "error"
    return {"code": number, "message": message, "data": None}


def token_key(authorization: str | None) -> str | None:
    """The key of an `Authorization: Token <key>`; "" for anything else that is there."""
    if not authorization:
        return None
    scheme, key = authorization[: len(_SCHEME)], authorization[len(_SCHEME) :]
    return key.strip() if scheme.lower() == _SCHEME else ""


def event(data: Payload | str) -> bytes:
    """One event of a stream; text is sent as it is, all else as JSON."""
    body = data.encode() if isinstance(data, str) else dump(data)
    return b"event: message\ndata: " + body + b"\n\n"


MEMOS = Surface(fail=enveloped(failure), nothing=lambda: success(None))
"""HTTP 200 whatever the code."""

MEMOS_STREAM = Surface(
    fail=enveloped(failure), nothing=lambda: success(None), encode=event, content_type=EVENTS
)
"""A chat that was asked to stream."""
