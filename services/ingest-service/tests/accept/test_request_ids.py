"""Request ids."""

from uuid import RFC_4122, UUID

from ingest_service.accept.request_ids import RequestIds


def test_ids_are_distinct_uuids_of_version_4() -> None:
    ids = RequestIds()
    made = [ids.next() for _ in range(2000)]
    assert len(set(made)) == 2000
    for text in made:
        parsed = UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 4, RFC_4122)
