/* The schema as version 1 of it was written, and what made versions 2 to 4 of it. Never changes. */
#pragma once

static const char schema_1_sql[] =
        "CREATE TABLE job( key INTEGER PRIMARY KEY, tail INTEGER NOT NULL, kind INTEGER NOT "
        "NULL, batch_key INTEGER, batch_tail INTEGER, batch_index INTEGER, created_us INTEGER"
        " NOT NULL, name TEXT, url TEXT, origin TEXT, method TEXT, headers BLOB, body_bytes "
        "INTEGER NOT NULL, collect_url TEXT, collect_origin TEXT, collect_method TEXT, "
        "collect_headers BLOB, collect_body_bytes INTEGER NOT NULL, wait_us INTEGER NOT NULL,"
        " timeout_us INTEGER NOT NULL, deadline_us INTEGER NOT NULL, delay_us INTEGER NOT "
        "NULL, at_us INTEGER NOT NULL, max_body_bytes INTEGER NOT NULL, redirects INTEGER NOT"
        " NULL, expect BLOB NOT NULL, tries_max INTEGER NOT NULL, backoff_us INTEGER NOT "
        "NULL, max_backoff_us INTEGER NOT NULL, priority INTEGER NOT NULL, on_unknown INTEGER"
        " NOT NULL, idempotent INTEGER NOT NULL, labels INTEGER NOT NULL, body BLOB, "
        "collect_body BLOB) STRICT;"
        "CREATE INDEX job_batch ON job(batch_key, batch_index) WHERE batch_key IS NOT NULL;"
        "CREATE TABLE label( job_key INTEGER NOT NULL, seq INTEGER NOT NULL, name TEXT NOT "
        "NULL, value TEXT NOT NULL, PRIMARY KEY(job_key, seq)) STRICT, WITHOUT ROWID;"
        "CREATE INDEX label_job ON label(name, value, job_key);"
        "CREATE TABLE live( key INTEGER PRIMARY KEY, held INTEGER NOT NULL, in_flight INTEGER"
        " NOT NULL DEFAULT 0, state INTEGER NOT NULL, step INTEGER NOT NULL, tries INTEGER "
        "NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0, due_us INTEGER NOT NULL, "
        "started_us INTEGER NOT NULL DEFAULT 0, delivered_us INTEGER NOT NULL DEFAULT 0, "
        "waited_us INTEGER NOT NULL DEFAULT 0, collected_us INTEGER NOT NULL DEFAULT 0, "
        "failure INTEGER NOT NULL DEFAULT 0, phase INTEGER NOT NULL DEFAULT 0, retry_safe "
        "INTEGER NOT NULL DEFAULT 0, message TEXT, status INTEGER NOT NULL DEFAULT 0, "
        "answer_step INTEGER NOT NULL DEFAULT 0, body_bytes INTEGER NOT NULL DEFAULT 0, "
        "truncated INTEGER NOT NULL DEFAULT 0, body_type TEXT) STRICT;"
        "CREATE TABLE done( key INTEGER PRIMARY KEY, batch_key INTEGER, finished_seq INTEGER "
        "NOT NULL, finished_us INTEGER NOT NULL, state INTEGER NOT NULL, step INTEGER NOT "
        "NULL, tries INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0, due_us "
        "INTEGER NOT NULL, started_us INTEGER NOT NULL DEFAULT 0, delivered_us INTEGER NOT "
        "NULL DEFAULT 0, waited_us INTEGER NOT NULL DEFAULT 0, collected_us INTEGER NOT NULL "
        "DEFAULT 0, failure INTEGER NOT NULL DEFAULT 0, phase INTEGER NOT NULL DEFAULT 0, "
        "retry_safe INTEGER NOT NULL DEFAULT 0, message TEXT, status INTEGER NOT NULL DEFAULT"
        " 0, answer_step INTEGER NOT NULL DEFAULT 0, body_bytes INTEGER NOT NULL DEFAULT 0, "
        "truncated INTEGER NOT NULL DEFAULT 0, body_type TEXT, last_attempts BLOB) STRICT;"
        "CREATE INDEX done_batch ON done(batch_key, finished_seq) WHERE batch_key IS NOT "
        "NULL;"
        "CREATE TABLE attempt( job_key INTEGER NOT NULL, seq INTEGER NOT NULL, data BLOB NOT "
        "NULL, PRIMARY KEY(job_key, seq)) STRICT, WITHOUT ROWID;"
        "CREATE TABLE answer( key INTEGER PRIMARY KEY, headers BLOB, type TEXT, bytes "
        "INTEGER, truncated INTEGER NOT NULL, file TEXT, data BLOB) STRICT;"
        "CREATE TABLE batch( key INTEGER PRIMARY KEY, tail INTEGER NOT NULL, run INTEGER NOT "
        "NULL, on_error INTEGER NOT NULL, concurrency INTEGER NOT NULL, state INTEGER NOT "
        "NULL, cancelled INTEGER NOT NULL, total INTEGER NOT NULL, jobs_succeeded INTEGER NOT"
        " NULL, jobs_failed INTEGER NOT NULL, jobs_cancelled INTEGER NOT NULL, created_us "
        "INTEGER NOT NULL, finished_us INTEGER NOT NULL, work_us INTEGER NOT NULL, "
        "finished_seq INTEGER NOT NULL) STRICT;"
        "CREATE INDEX batch_live ON batch(key) WHERE state < 2;";

static const char schema_2_sql[] =
        "ALTER TABLE job ADD COLUMN executor INTEGER NOT NULL DEFAULT 0;";

/* Of an empty store: what is alive is not made paged out. */
static const char schema_3_sql[] =
        "ALTER TABLE live ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;"
        "CREATE TABLE paged( key INTEGER PRIMARY KEY, lane INTEGER NOT NULL, priority INTEGER"
        " NOT NULL, held INTEGER NOT NULL, due_us INTEGER NOT NULL, ends_us INTEGER NOT NULL,"
        " at_us INTEGER NOT NULL) STRICT;"
        "CREATE INDEX paged_lane ON paged(lane, priority DESC, due_us) WHERE held=0;"
        "CREATE INDEX paged_ends ON paged(ends_us) WHERE ends_us>0;"
        "CREATE TABLE idempotency( job_key INTEGER PRIMARY KEY, tail INTEGER NOT NULL, key "
        "BLOB NOT NULL, fingerprint BLOB NOT NULL) STRICT;"
        "CREATE UNIQUE INDEX idempotency_key ON idempotency(key);"
        "CREATE TABLE meta( name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT "
        "ROWID;";

static const char schema_4_sql[] =
        "CREATE INDEX done_age ON done(finished_us);"
        "ALTER TABLE batch ADD COLUMN removed_succeeded INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE batch ADD COLUMN removed_failed INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE batch ADD COLUMN removed_cancelled INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE batch ADD COLUMN removed_work_us INTEGER NOT NULL DEFAULT 0;";
