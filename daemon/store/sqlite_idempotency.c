#include "daemon/store/sqlite_idempotency.h"

#include <string.h>

#include "daemon/store/sqlite_loading.h"
#include "daemon/store/sqlite_statement.h"

/* 1: the key is known; *ret says for what. */
static int find_key(struct sqlite *d, const struct idempotency *k, struct store_outcome *ret)
{
    struct row r CLEANUP_ROW = statement_start(d, FIND_KEY);
    const void *fingerprint;
    int rc, n;

    row_put_blob(&r, k->key, sizeof(k->key));
    rc = statement_next(&r);
    if (rc <= 0)
        return rc;
    ret->id.key = row_take_int(&r);
    ret->id.tail = row_take_int(&r);
    fingerprint = sqlite3_column_blob(r.statement, r.at);
    n = sqlite3_column_bytes(r.statement, r.at);
    ret->insertion =
            n == (int)sizeof(k->fingerprint) && memcmp(fingerprint, k->fingerprint, (size_t)n) == 0
                    ? STORE_REPLAYED
                    : STORE_MISMATCHED;
    return 1;
}

static int insert_key(struct sqlite *d, const struct idempotency *k, struct uuid7 id)
{
    struct row r = statement_start(d, INSERT_KEY);

    row_put_int(&r, id.key);
    row_put_int(&r, id.tail);
    row_put_blob(&r, k->key, sizeof(k->key));
    row_put_blob(&r, k->fingerprint, sizeof(k->fingerprint));
    return statement_run(&r);
}

int sqlite_drop_key(struct sqlite *d, int64_t job_key)
{
    struct row r = statement_start(d, DELETE_KEY);

    row_put_int(&r, job_key);
    return statement_run(&r);
}

int sqlite_claim_key(
        struct sqlite *d, const struct idempotency *k, struct uuid7 id, struct store_outcome *ret)
{
    struct store_outcome known = { 0 };
    int rc = find_key(d, k, &known);

    if (rc < 0)
        return rc;
    /* Nobody will ever see the batch that the key stands for, though it may be long until it is gone. */
    if (rc > 0 && loading_drops(d, known.id.key)) {
        rc = sqlite_drop_key(d, known.id.key);
        if (rc < 0)
            return rc;
        known = (struct store_outcome){ 0 };
    }
    rc = known.insertion == STORE_INSERTED ? insert_key(d, k, id) : 0;
    if (rc == 0)
        *ret = known;
    return rc;
}

int sqlite_forget_keys(struct sqlite *d, int64_t before_us)
{
    struct row r = statement_start(d, FORGET_KEYS);
    int rc;

    row_put_int(&r, uuid7_first_key(before_us));
    row_put_int(&r, FORGET_SLICE);
    rc = statement_run(&r);
    return rc < 0 ? rc : sqlite3_changes(d->db) == FORGET_SLICE;
}
