"""Topics and datasets are data; these tests keep the data whole."""

import json

import pyarrow as pa
import pytest

from millrace_schemas import datasets, topics


@pytest.mark.parametrize("name", datasets.NAMES)
def test_dataset_has_a_schema_that_holds_its_key_and_partition_time(name: str) -> None:
    dataset = datasets.load(name)
    schema = dataset.arrow_schema()
    assert set(dataset.key) <= set(schema.names)
    assert schema.field(dataset.partition_day_of).type == pa.timestamp("us", "UTC")
    assert schema.names[-3:] == ["year", "month", "day"]


def test_messages_keep_wide_columns_out_of_dictionaries() -> None:
    """LAKE-69."""
    dictionary = {column.name: column.dictionary for column in datasets.load("messages").columns}
    assert all(
        dictionary[n] for n in ("from_username", "to_username", "chatroom", "chatroom_sender", "msg_type")
    )
    assert not any(dictionary[n] for n in ("content", "source", "msg_id"))


@pytest.mark.parametrize("name", topics.NAMES)
def test_topic_examples_are_json_objects(name: str) -> None:
    topic = topics.load(name)
    values = topic.example_values()
    assert values
    assert all(isinstance(json.loads(value), dict) for value in values.values())


def test_unknown_names_are_refused() -> None:
    with pytest.raises(KeyError, match=r"no topic 'x'"):
        topics.load("x")
    with pytest.raises(KeyError, match=r"no dataset 'x'"):
        datasets.load("x")
