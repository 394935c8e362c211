-- Who claims knows the visible rows by heart (infra/local/src/queue/shelf.rs), so nothing that a claim changes is in an
-- index any more: an index that every claim moves rows in costs two to three times as much as everything else.
-- What is left is what reading a queue from the beginning, in order, needs.
ALTER TABLE message_queue
    ADD KEY message_queue_claim_in_order (queue, id),
    DROP KEY message_queue_claim;
