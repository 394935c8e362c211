-- The local SQS: every queue's messages in one table. Portable between MySQL 8.0 and MariaDB 10.6.
-- All times are UTC and come from this server's clock alone.
CREATE TABLE message_queue (
    id BIGINT NOT NULL AUTO_INCREMENT,
    queue VARCHAR(80) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- The body's "type", when it is a JSON object with one; for people who read this table.
    event_type VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
    payload MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    -- NEW: never received. IN_PROGRESS: received. DONE: deleted, kept for a while. FAILED: dead letter.
    status ENUM('NEW', 'IN_PROGRESS', 'DONE', 'FAILED') NOT NULL DEFAULT 'NEW',
    retry_count INT NOT NULL DEFAULT 0,
    last_error VARCHAR(1000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    created_at DATETIME(6) NOT NULL,
    updated_at DATETIME(6) NOT NULL,
    message_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- When the message may be received (again); NULL takes a DONE row out of the claim's index range.
    visible_at DATETIME(6) NULL,
    -- Also the receive's generation: a receipt handle names the row and this count.
    receive_count INT NOT NULL DEFAULT 0,
    first_received_at DATETIME(6) NULL,
    received_at DATETIME(6) NULL,
    -- The queue a dead letter came from.
    source_queue VARCHAR(80) CHARACTER SET ascii COLLATE ascii_bin NULL,
    PRIMARY KEY (id),
    -- The claim reads exactly this range in exactly this order: no sorting, no row locked in vain.
    KEY message_queue_claim (queue, visible_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
