"""What a first look at the product needs: one tag to draw ids from."""

from typing import Final

from id_service.catalog.store import CatalogStore
from id_service.catalog.tag import TagName

DEMO_TAG: Final = TagName("demo", "default", "order-id")


async def seed_demo(store: CatalogStore) -> None:
    """Make group `default` and the numeric segment tag `order-id` in workspace `demo`, where missing."""
    await store.add_group(DEMO_TAG.workspace, DEMO_TAG.group)
    await store.add_tag(DEMO_TAG)
