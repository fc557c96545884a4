"""Relay: the day journals of one door -> topic `webhook.messages` of the bus, at least once, in order per key.

Read it in this order: `records` (a line becomes records; `keys` and `split` are parts of it), `publish` (until
the bus has them), `relay` (the loop), `positions` (how far). `replay` sends lines again by hand.

What is on the bus for a journal line:

* a blank line: nothing;
* any other line: its own bytes, keyed by msg_id or username, else by its origin; also a line that is no JSON
  object, which landing dead-letters;
* a 1011 batch of several elements: one record for each, `{…, "data": [element]}` with everything else of the
  line kept (guid, notify_type, unknown keys), so that a record is a batch of one and means what the element
  meant in its line. `element` of its origin is the element's place. A batch whose elements are much smaller
  than what each would have to carry along stays whole, at element 0: the row of its part number n is that of
  element `origin.element + n`, in both cases;
* a value over the limit: an Envelope with the path of the object that holds it (`ingest_service.envelopes`);
* a record that the bus refuses for good: an Envelope that lands as a dead letter with the reason.

Every record has an origin. `day` of an origin is `YYYY-MM-DD`, and `YYYY-MM-DD#<epoch>` for a journal that was
replaced or lost lines, so that its line 7 is not taken for the old line 7.
"""
