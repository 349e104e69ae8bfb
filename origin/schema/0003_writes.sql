-- What writes need beside the versions of rows (0001_tables.sql): the requests that must not be done twice.

-- The answers to requests that had an `Idempotency-Key`, written in the transaction of the change itself: there is a row if
-- and only if the change was made.
CREATE TABLE larder_idempotency (
    -- SHA-256 of the endpoint, the client's credentials and its key. No secret can be read from it, and it has one size.
    key        bytea PRIMARY KEY,
    endpoint   text NOT NULL,
    -- SHA-256 of what was asked for: the same key with something else is a mistake.
    request    bytea NOT NULL,
    -- NULL only inside of the transaction that makes the change.
    status     smallint,
    location   text,
    etag       text,
    body       text,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Old ones are found by it when they are removed.
CREATE INDEX larder_idempotency_created ON larder_idempotency (created_at);
