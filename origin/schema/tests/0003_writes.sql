-- Raises if 0003_writes.sql did not do its work.
DO $$
BEGIN
    ASSERT EXISTS (SELECT FROM pg_index WHERE indrelid = to_regclass('larder_idempotency') AND indisprimary), 'no key of larder_idempotency';
    ASSERT to_regclass('larder_idempotency_created') IS NOT NULL, 'no index for the removal of old keys';
END $$;
