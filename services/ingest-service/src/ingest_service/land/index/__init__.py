"""The key index: every msg_id ever stored, probed by batch."""
