/* What all jobs that have not ended are asked or told at once: at the start, and after a step of the clock. */
#include <stdint.h>

#include "daemon/store/sqlite_page.h"
#include "daemon/store/sqlite_schema.h"
#include "daemon/store/sqlite_statement.h"

#define CLOCK_OFFSET "clock_offset"
#define REDATE_SLICE 1024 /* rows looked at in one transaction: others wait for it */

_Static_assert(JOB_PENDING == 0, "what has not begun");

int sqlite_set_clock_offset(struct sqlite *d, int64_t offset_us)
{
    struct row r = statement_start(d, SET_META);

    row_put_text(&r, CLOCK_OFFSET);
    row_put_int(&r, offset_us);
    return statement_run(&r);
}

/* The one number of a statement whose parameters are bound; 0 when it has no row. */
static int census_number(struct row *r, int64_t *ret)
{
    int rc = statement_next(r);

    if (rc < 0)
        return rc;
    *ret = rc > 0 ? row_take_int(r) : 0;
    return 0;
}

static int census_clock_offset(struct sqlite *d, int64_t *ret)
{
    struct row r CLEANUP_ROW = statement_start(d, SELECT_META);

    row_put_text(&r, CLOCK_OFFSET);
    return census_number(&r, ret);
}

static int census_run(struct sqlite *d, enum statement which, int64_t value)
{
    struct row r = statement_start(d, which);

    row_put_int(&r, value);
    return statement_run(&r);
}

/* All times change: to make `paged` anew takes a small part of what changing its indexes would. */
static int census_shift(struct sqlite *d, int64_t offset_us)
{
    static const char anew[] =
            "DROP INDEX paged_lane; DROP INDEX paged_ends; DELETE FROM paged;" SCHEMA_PAGE_OUT
            ";" SCHEMA_PAGED_INDEXES;
    int rc = census_run(d, SHIFT_JOBS, offset_us);

    if (rc == 0)
        rc = census_run(d, SHIFT_LIVE, offset_us);
    if (rc == 0)
        rc = sqlite_error(sqlite3_exec(d->db, anew, NULL, NULL, NULL));
    return rc < 0 ? rc : sqlite_set_clock_offset(d, 0);
}

/* Everything is paged out, and its times are those of the wall clock. */
static int census_page_out(struct sqlite *d)
{
    struct row r = statement_start(d, PAGE_OUT_REST);
    int64_t offset_us;
    int rc = census_clock_offset(d, &offset_us);

    if (rc < 0)
        return rc;
    return offset_us ? census_shift(d, offset_us) : statement_run(&r);
}

static int census_count(struct sqlite *d, struct store_census *c)
{
    struct row count CLEANUP_ROW = statement_start(d, COUNT_ALL_LIVE);
    struct row end CLEANUP_ROW = statement_start(d, FIRST_END);
    int64_t n_live = 0;
    int rc = census_number(&count, &n_live);

    c->n_live = (size_t)n_live;
    return rc < 0 ? rc : census_number(&end, &c->ends_us);
}

/* Appends what `take` makes of each row. */
static int census_list(struct sqlite *d, enum statement which, size_t size,
        void (*take)(struct row *r, void *item), struct buf *ret)
{
    struct row r CLEANUP_ROW = statement_start(d, which);
    int rc;

    while ((rc = statement_next(&r)) > 0) {
        rc = buf_reserve(ret, size);
        if (rc < 0)
            return rc;
        take(&r, ret->data + ret->n);
        ret->n += size;
    }
    return rc;
}

static void take_flying(struct row *r, void *item)
{
    struct uuid7 *id = item;

    id->key = row_take_int(r);
    id->tail = row_take_int(r);
}

static void take_class(struct row *r, void *item)
{
    struct store_class *class = item;

    class->lane = row_take_int(r);
    class->priority = (int)row_take_int(r);
    class->due_us = row_take_int(r);
}

int sqlite_take_census(struct sqlite *d, struct store_census *ret)
{
    struct buf flying = { 0 }, classes = { 0 };
    struct store_census c = { 0 };
    int rc = census_page_out(d);

    if (rc == 0)
        rc = census_count(d, &c);
    if (rc == 0)
        rc = census_list(d, LIST_FLYING, sizeof(*c.flying), take_flying, &flying);
    if (rc == 0)
        rc = census_list(d, LIST_CLASSES, sizeof(*c.classes), take_class, &classes);
    if (rc < 0) {
        buf_done(&flying);
        buf_done(&classes);
        return rc;
    }
    c.flying = (struct uuid7 *)(void *)flying.data;
    c.n_flying = flying.n / sizeof(*c.flying);
    c.classes = (struct store_class *)(void *)classes.data;
    c.n_classes = classes.n / sizeof(*c.classes);
    *ret = c;
    return 0;
}

/* *ret_end: the last key of the slice, INT64_MAX when it is the last slice. */
static int redate_end(struct sqlite *d, int64_t after, int64_t *ret_end)
{
    struct row r CLEANUP_ROW = statement_start(d, REDATE_END);
    int rc;

    row_put_int(&r, after);
    row_put_int(&r, REDATE_SLICE);
    rc = statement_next(&r);
    if (rc < 0)
        return rc;
    *ret_end = row_take_int(&r) == REDATE_SLICE ? row_take_int(&r) : INT64_MAX;
    return 0;
}

static int redate(
        struct sqlite *d, enum statement which, int64_t offset_us, int64_t after, int64_t end)
{
    struct row r = statement_start(d, which);

    row_put_int(&r, offset_us);
    row_put_int(&r, after);
    row_put_int(&r, end);
    return statement_run(&r);
}

int sqlite_redate(struct sqlite *d, int64_t offset_us, int64_t *after)
{
    int64_t end;
    int rc = redate_end(d, *after, &end);

    if (rc == 0)
        rc = redate(d, REDATE_LIVE, offset_us, *after, end);
    if (rc == 0)
        rc = redate(d, REDATE_PAGED, offset_us, *after, end);
    if (rc < 0)
        return rc;
    *after = end;
    return end < INT64_MAX;
}
