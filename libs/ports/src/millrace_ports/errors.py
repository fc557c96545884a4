"""What a port may raise. Adapters translate: an exception of a driver never crosses a port."""


class PortError(Exception):
    """A port could not do what was asked. `retryable` says whether the same call may succeed later."""

    retryable: bool = False


class ConfigurationError(PortError):
    """A URL or name given to a port is missing or malformed; the text names the setting."""


class InvalidRecordError(PortError, ValueError):
    """A record cannot be written as it is, and never will be (`LAKE-31`).

    Nothing of its batch was written when the record's form is at fault; when a server refused it, any of the
    others may have been: take out the record at `index` and publish the rest again, since repeats are safe.
    """

    def __init__(self, index: int, why: str) -> None:
        super().__init__(f"record {index}: {why}")
        self.index = index


class PositionError(PortError):
    """The owner of the positions asked for a record that the bus does not have."""


class RecordsLostError(PositionError):
    """Records after `position` were not consumed yet and the bus has them no more: it begins at `first_available`.

    Nothing resets by itself: somebody has to bring the records back from their journal, or to skip them knowingly.
    """

    def __init__(self, partition: str, position: int, first_available: int) -> None:
        super().__init__(
            f"{partition}: records after number {position} were not read yet and are gone; "
            f"the first one there is number {first_available}"
        )
        self.partition = partition
        self.position = position
        self.first_available = first_available


class StorageUnavailableError(PortError):
    """Stable storage refused (read-only, full, broken, busy). Nothing may be taken as stored; try again."""

    retryable = True


class LockTimeoutError(StorageUnavailableError):
    """Another process kept a file lock for longer than the caller was willing to wait."""


class TopicMissingError(StorageUnavailableError):
    """There is no such topic, not yet or not any more; it may be made (again)."""


class ClosedError(PortError):
    """The port was closed before or while the call ran."""
