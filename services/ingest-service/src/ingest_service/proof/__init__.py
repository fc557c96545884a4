"""Where a row comes from and where it is: what journals, relay and the tables' logs still know of one msg_id."""
