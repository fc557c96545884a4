"""What the id service reads from its environment."""

from pydantic import Field

from millrace_relational import DatabaseSetting
from millrace_relational.url import FORMS
from millrace_runtime.settings import Settings


class IdSettings(Settings):
    """Settings of the composed service, whichever process it lives in."""

    id_database_url: DatabaseSetting = Field(description=f"the service's own database: {FORMS}")
    id_seed_demo: bool = Field(
        default=False, description="1 makes group `default` and tag `order-id` in workspace `demo`"
    )
    id_batch_max_size: int = Field(
        default=100, ge=1, le=10_000, description="most ids in one batch, 1 to 10000 (ID-52)"
    )
