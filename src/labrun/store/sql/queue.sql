-- name: schema
-- Version 1: experiments that wait or are held, nothing that is finished. `spec` is JSON, moments are RFC 3339.
-- `application_id` is "labq".
PRAGMA application_id = 1818322545;
PRAGMA user_version = 1;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counters VALUES ('epoch', 0), ('label', 0), ('sequence', 0), ('fence', 0), ('is_clean', 1);
CREATE TABLE variables (digest TEXT PRIMARY KEY, content BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE experiments (
    sequence INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    label_number INTEGER NOT NULL UNIQUE,
    spec BLOB NOT NULL,
    variables TEXT REFERENCES variables (digest),
    queued_at TEXT NOT NULL,
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    state TEXT NOT NULL CHECK (state IN ('waiting', 'claimed')),
    folder TEXT,
    worker TEXT,
    fence INTEGER NOT NULL DEFAULT 0,
    gpus TEXT NOT NULL DEFAULT '',
    key TEXT,
    claimed_at TEXT,
    cancelled_by TEXT
) STRICT;
CREATE INDEX experiments_by_variables ON experiments (variables) WHERE variables IS NOT NULL;
CREATE TABLE requests (
    key TEXT PRIMARY KEY,
    hash TEXT NOT NULL,
    run_id TEXT NOT NULL,
    label_number INTEGER NOT NULL,
    made_at REAL NOT NULL,
    kept BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_age ON requests (made_at);
CREATE INDEX requests_by_run ON requests (run_id);

-- name: take_epoch
-- Become the owner: whoever had an older epoch cannot write any more.
UPDATE counters SET value = value + 1 WHERE name = 'epoch' RETURNING value;

-- name: epoch
-- Who owns the queue.
SELECT value FROM counters WHERE name = 'epoch';

-- name: is_clean
-- Whether the last owner closed in order.
SELECT value FROM counters WHERE name = 'is_clean';

-- name: set_clean
-- Note whether the owner closed in order.
UPDATE counters SET value = ? WHERE name = 'is_clean';

-- name: next_value
-- Count one further.
UPDATE counters SET value = value + 1 WHERE name = ? RETURNING value;

-- name: label
-- The highest label number given.
SELECT value FROM counters WHERE name = 'label';

-- name: raise_label
-- Never give a label up to this number.
UPDATE counters SET value = max(value, ?) WHERE name = 'label';

-- name: insert_variables
-- Keep variables once per content.
INSERT INTO variables VALUES (?, ?) ON CONFLICT (digest) DO NOTHING;

-- name: variables
-- Variables by hash.
SELECT content FROM variables WHERE digest = ?;

-- name: drop_variables
-- Forget variables when no open experiment uses them.
DELETE FROM variables WHERE digest = ?1 AND NOT EXISTS (SELECT 1 FROM experiments WHERE variables = ?1);

-- name: insert_row
-- Let an experiment wait for its first attempt.
INSERT INTO experiments (run_id, label_number, sequence, spec, variables, queued_at, attempt, state)
VALUES (?, ?, ?, ?, (SELECT digest FROM variables WHERE digest = ?), ?, 1, 'waiting');

-- name: reinsert_row
-- Let an experiment wait for a further attempt, in its old folder.
INSERT INTO experiments (run_id, label_number, sequence, spec, variables, queued_at, attempt, folder, state)
VALUES (?, ?, ?, ?, (SELECT digest FROM variables WHERE digest = ?), ?, ?, ?, 'waiting');

-- name: rows
-- Every open row in order of acceptance.
SELECT run_id, label_number, sequence, spec, queued_at, attempt, state, folder, worker, fence, gpus, key, claimed_at,
    cancelled_by
FROM experiments ORDER BY sequence;

-- name: row
-- One open row.
SELECT run_id, label_number, sequence, spec, queued_at, attempt, state, folder, worker, fence, gpus, key, claimed_at,
    cancelled_by
FROM experiments WHERE run_id = ?;

-- name: claim_row
-- Hold a row that waits with this attempt number and that nobody wants stopped.
UPDATE experiments
SET state = 'claimed', worker = ?, folder = ?, key = ?, claimed_at = ?, gpus = ?, fence = ?
WHERE run_id = ? AND attempt = ? AND state = 'waiting' AND cancelled_by IS NULL;

-- name: unclaim_row
-- Let a held attempt wait again; its folder stays.
UPDATE experiments SET state = 'waiting', worker = NULL, key = NULL, claimed_at = NULL, gpus = ''
WHERE run_id = ? AND attempt = ? AND state = 'claimed';

-- name: cancel_row
-- Note who wants it stopped; the first one's name stays.
UPDATE experiments SET cancelled_by = coalesce(cancelled_by, ?) WHERE run_id = ?;

-- name: remove_row
-- Forget an experiment whose record is sealed; tells which variables it used.
DELETE FROM experiments WHERE run_id = ? RETURNING variables;

-- name: request
-- What an idempotency key made: the hash of the request, and the row's last form once it is not open any more.
SELECT hash, run_id, label_number, kept FROM requests WHERE key = ?;

-- name: insert_request
-- Remember what an idempotency key made; the moment in Unix seconds.
INSERT INTO requests (key, hash, run_id, label_number, made_at) VALUES (?, ?, ?, ?, ?);

-- name: has_request
-- Whether a key that made this experiment is still remembered.
SELECT 1 FROM requests WHERE run_id = ?;

-- name: keep_request
-- Keep a row's last form for its key: it is about to be removed.
UPDATE requests SET kept = ? WHERE run_id = ?;

-- name: drop_requests
-- Forget keys made before a moment, a few at a time so that no commit gets slow.
DELETE FROM requests WHERE key IN (SELECT key FROM requests WHERE made_at < ? ORDER BY made_at LIMIT 64);
