"""The functions by which views hide personal data, under the names that the engine has for them.

Statements cannot call them: the check of a statement knows DuckDB's own functions only.
"""

from collections.abc import Callable, Mapping

from millrace_schemas.masking import HIDDEN, mask_custom_info, mask_extra_fields, mask_mobile_value

JSON, MOBILE, CUSTOM_INFO, ALL = (
    "millrace_mask_json",
    "millrace_mask_mobile",
    "millrace_mask_custom_info",
    "millrace_mask_all",
)

MASKS: Mapping[str, Callable[[str], str]] = {
    JSON: mask_extra_fields,
    MOBILE: mask_mobile_value,
    CUSTOM_INFO: mask_custom_info,
    ALL: lambda text: HIDDEN if text else text,
}
