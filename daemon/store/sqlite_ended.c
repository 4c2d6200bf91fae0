#include "daemon/store/sqlite_ended.h"

#include <errno.h>

#include "daemon/store/sqlite_statement.h"

int ended_add(struct sqlite *d, int64_t key)
{
    char digits[ENDED_DIGITS];
    uint64_t left = (uint64_t)key;
    int rc;

    for (int i = ENDED_DIGITS - 1; i >= 0; i--, left >>= 4)
        digits[i] = "0123456789abcdef"[left & 15];
    rc = buf_append(&d->ended_keys, digits, sizeof(digits));
    d->ended_change += rc == 0;
    return rc;
}

int ended_write(struct sqlite *d)
{
    struct row r = statement_start(d, INSERT_ENDED);
    int rc;

    if (d->ended_keys.n == 0)
        return 0;
    row_put_blob(&r, d->ended_keys.data, d->ended_keys.n);
    rc = statement_run(&r);
    if (rc == 0)
        d->ended_keys.n = 0;
    return rc;
}

void ended_row_done(struct ended_row *r)
{
    buf_done(&r->keys);
}

int ended_next(struct sqlite *d, struct ended_row *next)
{
    struct row r CLEANUP_ROW = statement_start(d, NEXT_ENDED);
    const void *keys;
    int n, rc;

    row_put_int(&r, next->id);
    rc = statement_next(&r);
    if (rc <= 0)
        return rc;
    next->id = row_take_int(&r);
    keys = sqlite3_column_blob(r.statement, r.at);
    n = sqlite3_column_bytes(r.statement, r.at);
    if (n % ENDED_DIGITS != 0)
        return -EBADMSG;
    if (n > 0 && !keys)
        return -ENOMEM;
    next->keys.n = 0;
    rc = buf_append(&next->keys, keys, (size_t)n);
    return rc < 0 ? rc : 1;
}

int ended_update(struct sqlite *d, const struct ended_row *row)
{
    struct row r = statement_start(d, row->keys.n > 0 ? UPDATE_ENDED : DELETE_ENDED);

    if (row->keys.n > 0)
        row_put_blob(&r, row->keys.data, row->keys.n);
    row_put_int(&r, row->id);
    return statement_run(&r);
}

int ended_parse(const char *digits, int64_t *ret)
{
    uint64_t key = 0;

    for (int i = 0; i < ENDED_DIGITS; i++) {
        char c = digits[i];

        if (c >= '0' && c <= '9')
            key = key << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            key = key << 4 | (uint64_t)(c - 'a' + 10);
        else
            return -EBADMSG;
    }
    *ret = (int64_t)key;
    return 0;
}
