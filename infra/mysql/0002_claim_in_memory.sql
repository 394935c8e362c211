-- Who claims knows the visible rows by heart (infra/local/src/queue/shelf.rs), so nothing that a claim changes is in an
-- index any more: an index that every claim moves rows in costs more than everything else together. What is left is what
-- reading a queue from its beginning, in order, needs.
-- Nothing that a claim changes has a changing size either, so rows are updated where they are: no time is NULL.
-- And by hand, a queue and a payload are enough: INSERT INTO message_queue (queue, payload) VALUES ('echo-audit', '{}').
UPDATE message_queue SET
    visible_at = COALESCE(visible_at, updated_at),
    received_at = COALESCE(received_at, created_at),
    first_received_at = COALESCE(first_received_at, created_at);

ALTER TABLE message_queue
    MODIFY message_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT (UUID()),
    MODIFY created_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    MODIFY updated_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    -- When the message may be received (again).
    MODIFY visible_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    -- Of no meaning before the first receive.
    MODIFY received_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    MODIFY first_received_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    ADD KEY message_queue_in_order (queue, id),
    DROP KEY message_queue_claim;
