"""The parameters of the HTTP routes for OpenAPI, made from the same names that the parser knows."""

from collections.abc import Sequence
from typing import Any

from query_service.formats import Format
from query_service.search.columns import COLUMNS, CONTACT_COLUMNS, FILTERS, NUMBER_FILTERS
from query_service.search.letter_request import FILTERS as LETTER_FILTERS
from query_service.search.request import DEFAULT_PAGE_ROWS, MAX_PAGE_ROWS


def _query(name: str, schema: dict[str, Any], description: str, *, required: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "schema": schema,
        "description": description,
    }


def _filter(name: str) -> dict[str, Any]:
    kind = {"type": "integer", "format": "int32"} if name in NUMBER_FILTERS else {"type": "string"}
    what = "chatroom_sender when not empty, else from_username" if name == "sender" else name
    return _query(name, {"type": "array", "items": kind}, f"{what}: repeat the parameter for any of")


_DAY = {"type": "string", "format": "date"}


def _columns(names: Sequence[str]) -> dict[str, Any]:
    return _query(
        "columns",
        {"type": "string"},
        "columns in the order wanted, separated by commas; all of them: " + ",".join(names),
    )


_LIMIT = _query(
    "limit",
    {"type": "integer", "minimum": 1},
    f"rows wanted; JSON: {DEFAULT_PAGE_ROWS} if absent, at most {MAX_PAGE_ROWS}; CSV and Arrow: all if absent",
)
_OFFSET = _query("offset", {"type": "integer", "minimum": 0, "default": 0}, "rows skipped")
_UNMASK = _query(
    "unmask", {"type": "boolean", "default": False}, "clear values; the key needs the scope lake:unmask"
)
_OK = {"200": {"description": "the rows", "content": {offered.value: {} for offered in Format}}}

SEARCH_DESCRIPTION: dict[str, Any] = {
    "parameters": [
        _query("start", _DAY, "first UTC day", required=True),
        _query("end", _DAY, "last UTC day, included", required=True),
        *(_filter(name) for name in FILTERS),
        _columns(COLUMNS),
        _LIMIT,
        _OFFSET,
        _UNMASK,
    ],
    "responses": _OK,
}

LOOKUP_DESCRIPTION: dict[str, Any] = {
    "parameters": [
        {"name": "msg_id", "in": "path", "required": True, "schema": {"type": "string"}},
        _columns(COLUMNS),
        _UNMASK,
    ],
    "responses": {**_OK, "404": {"description": "no message has this id"}},
}

CONTACTS_DESCRIPTION: dict[str, Any] = {
    "parameters": [
        _query(
            "username",
            {"type": "array", "items": {"type": "string"}},
            "exact; repeat the parameter for any of",
        ),
        _query("chatroom", {"type": "boolean"}, "only chatrooms, or none"),
        _query("deleted", {"type": "boolean"}, "only deleted contacts, or none"),
        _query(
            "changed_since",
            {"type": "string"},
            "landed then or later: a UTC day YYYY-MM-DD or a moment YYYY-MM-DDTHH:MM:SSZ",
        ),
        _columns(CONTACT_COLUMNS),
        _LIMIT,
        _OFFSET,
        _UNMASK,
    ],
    "responses": _OK,
}

_LETTER_ANSWER = {"200": {"description": "the letters", "content": {Format.JSON.value: {}}}}

LETTERS_DESCRIPTION: dict[str, Any] = {
    "parameters": [
        _query("start", _DAY, "first UTC day of landing"),
        _query("end", _DAY, "last UTC day of landing, included"),
        *(
            _query(
                name,
                {"type": "array", "items": {"type": "string"}},
                f"{column}, exact; repeat the parameter for any of",
            )
            for name, column in LETTER_FILTERS.items()
        ),
        _query("landed", {"type": "boolean"}, "only letters whose rows are there by now, or none of them"),
        _query(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_ROWS, "default": DEFAULT_PAGE_ROWS},
            "letters wanted",
        ),
        _OFFSET,
        _UNMASK,
    ],
    "responses": _LETTER_ANSWER,
}

LETTER_DESCRIPTION: dict[str, Any] = {
    "parameters": [
        {
            "name": "id",
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "description": "door/file/line/element",
        },
        _UNMASK,
    ],
    "responses": _LETTER_ANSWER,
}
