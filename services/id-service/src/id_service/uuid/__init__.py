"""UUIDs of RFC 9562, made without any other service (ID-29)."""
