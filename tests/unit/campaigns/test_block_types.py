"""The block types that campaigns name are those that the distribution registers."""

from __future__ import annotations

from ignition_ext.orchestration.blocks import BLOCK_SLUGS, block_classes


def test_each_channels_block_type_is_one_of_ours() -> None:
    """The slugs are written down, since nothing below the flows may import the blocks."""
    registered = {block.get_block_type_slug() for block in block_classes()}
    assert set(BLOCK_SLUGS.values()) <= registered
    assert all(slug.startswith("ignition-") for slug in registered)
