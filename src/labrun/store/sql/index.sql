-- name: schema
-- Version 5 of a cache: another version, or damage, and the file is made anew. `application_id` is "labi".
-- `shown` is the whole experiment as JSON, the columns before it are taken from it; `folded` is the name in lower case,
-- `script` what it ran without its arguments (`core.rerun.script_of`), `took` the seconds of its last attempt,
-- `ended` Unix seconds.
PRAGMA application_id = 1818322537;
PRAGMA user_version = 5;
CREATE TABLE experiments (
    label_number INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    lab TEXT NOT NULL,
    name TEXT,
    folded TEXT,
    status TEXT NOT NULL,
    folder TEXT,
    definition TEXT,
    script TEXT NOT NULL,
    queued REAL NOT NULL,
    took REAL,
    ended REAL,
    shown BLOB NOT NULL
) STRICT;
CREATE INDEX experiments_of_lab ON experiments (lab, label_number);
CREATE INDEX experiments_by_status ON experiments (lab, status, label_number);
CREATE INDEX experiments_by_name ON experiments (name, lab) WHERE name IS NOT NULL;
CREATE INDEX experiments_by_words ON experiments (lab, label_number, folded) WHERE folded IS NOT NULL;
CREATE INDEX experiments_in_order_of_names ON experiments (lab, folded, label_number) WHERE folded IS NOT NULL;
CREATE INDEX experiments_by_script ON experiments (lab, script, status, label_number);
CREATE INDEX experiments_by_time ON experiments (lab, queued);
CREATE INDEX experiments_by_end ON experiments (lab, ended) WHERE ended IS NOT NULL;
CREATE INDEX experiments_by_length ON experiments (lab, took, label_number) WHERE took IS NOT NULL;
CREATE INDEX experiments_by_folder ON experiments (folder) WHERE folder IS NOT NULL;
CREATE INDEX experiments_by_definition ON experiments (definition, lab, label_number) WHERE definition IS NOT NULL;
-- What experiments are found by, as `tag:sky`, `group:g`, `user:ada`, `word:prior`; and what they measured.
CREATE TABLE facets (facet TEXT NOT NULL, label_number INTEGER NOT NULL, PRIMARY KEY (facet, label_number))
    STRICT, WITHOUT ROWID;
CREATE INDEX facets_of ON facets (label_number);
CREATE TABLE metrics (name TEXT NOT NULL, label_number INTEGER NOT NULL, last REAL NOT NULL,
    PRIMARY KEY (name, label_number)) STRICT, WITHOUT ROWID;
CREATE INDEX metrics_of ON metrics (label_number);
CREATE INDEX metrics_by_value ON metrics (name, last, label_number);
CREATE TRIGGER found_out AFTER DELETE ON experiments BEGIN
    DELETE FROM facets WHERE label_number = old.label_number;
    DELETE FROM metrics WHERE label_number = old.label_number;
END;
CREATE TABLE counts (lab TEXT NOT NULL, status TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (lab, status))
    STRICT, WITHOUT ROWID;
CREATE TRIGGER count_in AFTER INSERT ON experiments BEGIN
    INSERT INTO counts VALUES (new.lab, new.status, 1)
    ON CONFLICT (lab, status) DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER count_out AFTER DELETE ON experiments BEGIN
    UPDATE counts SET number = number - 1 WHERE lab = old.lab AND status = old.status;
END;
-- What was deleted: found by label and run id alone. `line` is the last one about it in the lab's deleted.jsonl.
CREATE TABLE tombstones (run_id TEXT PRIMARY KEY, label_number INTEGER NOT NULL, lab TEXT NOT NULL, line BLOB NOT NULL)
    STRICT, WITHOUT ROWID;
CREATE INDEX tombstones_by_label ON tombstones (label_number);
CREATE TABLE consumed (journal TEXT PRIMARY KEY, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- name: forget
-- Take an older view of the same experiment out: it was resumed, or the same line is folded in twice.
DELETE FROM experiments WHERE label_number = ? OR run_id = ?;

-- name: insert
-- One experiment as lists show it.
INSERT INTO experiments
    (label_number, run_id, lab, name, folded, status, folder, definition, script, queued, took, ended, shown)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: insert_facet
-- One thing an experiment is found by.
INSERT OR IGNORE INTO facets VALUES (?, ?);

-- name: insert_metric
-- One last value.
INSERT OR REPLACE INTO metrics VALUES (?, ?, ?);

-- name: set_consumed
-- How many bytes of a lab's journal are folded in.
INSERT INTO consumed VALUES (?, ?) ON CONFLICT (journal) DO UPDATE SET bytes = max(bytes, excluded.bytes);

-- name: consumed
-- Where to go on reading.
SELECT bytes FROM consumed WHERE journal = ?;

-- name: by_run_id
-- By identity.
SELECT shown FROM experiments WHERE run_id = ?;

-- name: by_label
-- By label number.
SELECT shown FROM experiments WHERE label_number = ?;

-- name: by_definition
-- Of the same definition, newest first.
SELECT shown FROM experiments WHERE definition = ? AND lab = ? ORDER BY label_number DESC LIMIT ?;

-- name: success_of_definition
-- The newest success of a definition before a label.
SELECT shown FROM experiments WHERE definition = ? AND lab = ? AND label_number < ? AND status = 'succeeded'
ORDER BY label_number DESC LIMIT 1;

-- name: success_of_script
-- The newest success of a script before a label.
SELECT shown FROM experiments WHERE lab = ? AND script = ? AND status = 'succeeded' AND label_number < ?
ORDER BY label_number DESC LIMIT 1;

-- name: has_metric
-- Whether anything measured that.
SELECT EXISTS (SELECT 1 FROM metrics WHERE name = ?);

-- name: by_prefix
-- By the first characters of a run id; the second value is the first text after all of them.
SELECT shown FROM experiments WHERE run_id >= ? AND run_id < ? ORDER BY run_id LIMIT ?;

-- name: by_name
-- By exact name in one lab.
SELECT shown FROM experiments WHERE name = ? AND lab = ? ORDER BY label_number DESC LIMIT ?;

-- name: by_folder
-- By folder.
SELECT shown FROM experiments WHERE folder = ?;

-- name: page
-- A page of a lab, newest first, by key: never by offset.
SELECT shown FROM experiments WHERE lab = ? AND label_number < ? ORDER BY label_number DESC LIMIT ?;

-- name: page_by_status
-- The same, of one status.
SELECT shown FROM experiments WHERE lab = ? AND status = ? AND label_number < ? ORDER BY label_number DESC LIMIT ?;

-- name: page_by_words
-- The same, where the name holds a text; reads along the names of the lab until the page is full.
SELECT shown FROM experiments INDEXED BY experiments_by_words
WHERE lab = ?1 AND label_number < ?2 AND folded IS NOT NULL AND instr(folded, ?3) > 0 AND (?4 IS NULL OR status = ?4)
ORDER BY label_number DESC LIMIT ?5;

-- name: newest
-- The newest label numbers of a lab.
SELECT label_number FROM experiments WHERE lab = ? ORDER BY label_number DESC LIMIT ?;

-- name: ended
-- What ended last, of all since a moment.
SELECT shown FROM experiments WHERE lab = ? AND ended > ? ORDER BY ended DESC LIMIT ?;

-- name: count_ended
-- How many ended since a moment; not counted beyond the last value.
SELECT count(*) FROM (SELECT 1 FROM experiments WHERE lab = ? AND ended > ? LIMIT ?);

-- name: counts
-- Experiments of a lab by status, kept by triggers.
SELECT status, number FROM counts WHERE lab = ? AND number > 0;

-- name: count
-- All experiments.
SELECT coalesce(sum(number), 0) FROM counts;

-- name: high_water
-- The highest label number seen.
SELECT max((SELECT coalesce(max(label_number), 0) FROM experiments),
           (SELECT coalesce(max(label_number), 0) FROM tombstones));

-- name: bury
-- One deleted experiment.
INSERT OR REPLACE INTO tombstones (run_id, label_number, lab, line) VALUES (?, ?, ?, ?);

-- name: unbury
-- It is back.
DELETE FROM tombstones WHERE run_id = ?;

-- name: tombstone
-- One deleted experiment by its identity.
SELECT line FROM tombstones WHERE run_id = ?;

-- name: tombstone_by_label
-- By label number.
SELECT line FROM tombstones WHERE label_number = ?;

-- name: tombstones
-- All of a lab.
SELECT line FROM tombstones WHERE lab = ?;
