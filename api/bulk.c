/*
 * POST /v1/jobs with NDJSON. Lines are parsed as they arrive, up to BULK_SLICE of them at a time on
 * the loop's stack; what is good of them is submitted by a child coroutine while parsing goes on. A
 * large line is parsed on a pool thread, which has that line's text and result and nothing else:
 * lines and slices are the loop's. A line's result is kept under its number, so the answer is in
 * input order. A cut-off upload leaves the whole lines accepted.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/bulk_lines.h"
#include "api/codec.h"
#include "api/handlers.h"
#include "api/query.h"
#include "daemon/engine/service.h"

#define BULK_SLICE          256
#define BULK_SLICE_BYTES    CODEC_ON_LOOP_BYTES /* parsed before others run */
#define BULK_IN_FLIGHT      8                   /* slices being submitted */
#define BULK_LINE_MAX_BYTES (1 << 20)

/* Specs on their way to the service. */
struct bulk_slice {
    struct list node; /* in bulk.slices */
    struct bulk *bulk;
    size_t n, bytes;         /* of specs; about what all of it takes in memory */
    size_t line[BULK_SLICE]; /* the number of each spec's line */
    struct job_spec specs[BULK_SLICE];
    struct job *jobs[BULK_SLICE];
};

/* What came of parsing a line. */
struct bulk_parsed {
    const struct service_rules *rules;
    const char *text;
    size_t n;
    struct job_spec spec;
    struct faults faults;
    int rc; /* of codec_job() */
};

enum bulk_step {
    BULK_HUNGRY,  /* no whole line is left */
    BULK_AGAIN,   /* a slice's worth was parsed */
    BULK_LARGE,   /* the next line belongs on a pool thread */
    BULK_STOPPED, /* no more lines are taken */
};

struct bulk {
    struct request *request;
    struct service_rules *rules;
    struct buf text;       /* what has arrived and is not parsed */
    size_t parsed, looked; /* bytes of it: parsed; known to have no line's end after `parsed` */
    size_t line_max_bytes;
    bool skipping; /* the rest of a line that was too long */
    struct bulk_lines lines;
    struct bulk_slice *slice; /* being filled; NULL: none */
    struct list slices;       /* all that are not freed */
    size_t slices_bytes;
    struct co_group group;
    struct co_gate gate;
    enum bulk_step step;      /* how bulk_parse() ended */
    struct bulk_parsed large; /* the next line, when BULK_LARGE */
    int rc;
};

static struct bulk_slice *bulk_open_slice(struct bulk *b)
{
    if (!b->slice) {
        b->slice = malloc(sizeof(*b->slice));
        if (!b->slice)
            return NULL;
        b->slice->bulk = b;
        b->slice->n = 0;
        b->slice->bytes = sizeof(*b->slice);
        b->slices_bytes += sizeof(*b->slice);
        list_append(&b->slices, &b->slice->node);
    }
    return b->slice;
}

static bool is_blank(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r", text[i]) || text[i] == 0)
            return false;
    return true;
}

static int bulk_parse_text(void *arg)
{
    struct bulk_parsed *p = arg;

    p->rc = codec_job(p->text, p->n, NULL, p->rules, &p->spec, &p->faults);
    return 0;
}

/* A line that is parsed gets its number. */
static int bulk_keep(struct bulk *b, struct bulk_parsed *p)
{
    struct bulk_slice *slice;

    if (p->rc == -EBADMSG || p->rc == -EINVAL)
        return bulk_lines_keep_faults(&b->lines, p->rc == -EBADMSG ? 400 : 422, &p->faults);
    if (p->rc < 0)
        return p->rc;
    slice = bulk_open_slice(b);
    if (!slice || !bulk_lines_add(&b->lines))
        return -ENOMEM;
    slice->line[slice->n] = b->lines.n - 1;
    slice->specs[slice->n++] = p->spec;
    slice->bytes += p->n;
    b->slices_bytes += p->n;
    p->spec = (struct job_spec){ 0 };
    return 0;
}

static void bulk_parsed_done(struct bulk_parsed *p)
{
    job_spec_done(&p->spec);
    faults_done(&p->faults);
    *p = (struct bulk_parsed){ 0 };
}

/* One whole line, without its end. Blank ones count for nothing. */
static int bulk_parse_line(struct bulk *b, const char *text, size_t n)
{
    CLEANUP(bulk_parsed_done) struct bulk_parsed p = { .rules = b->rules, .text = text, .n = n };

    bulk_parse_text(&p);
    return bulk_keep(b, &p);
}

/* The next whole line, or false. A last line without an end is one when `at_end`. */
static bool bulk_find_line(struct bulk *b, bool at_end, const char **ret, size_t *ret_n)
{
    const char *from = b->text.data + b->parsed;
    size_t left = b->text.n - b->parsed;
    const char *end = left > b->looked ? memchr(from + b->looked, '\n', left - b->looked) : NULL;

    if (!end && !(at_end && left > 0)) {
        b->looked = left;
        return false;
    }
    *ret = from;
    *ret_n = end ? (size_t)(end - from) : left;
    return true;
}

static void bulk_next_line(struct bulk *b, size_t n)
{
    b->parsed += n + 1 < b->text.n - b->parsed ? n + 1 : b->text.n - b->parsed;
    b->looked = 0;
}

/* Drops what is left of a line that is longer than can be taken. */
static int bulk_check_length(struct bulk *b)
{
    int rc = 0;

    if (b->text.n - b->parsed <= b->line_max_bytes)
        return 0;
    if (!b->skipping)
        rc = bulk_lines_refuse(&b->lines, 413, "the line is longer than this daemon takes");
    b->skipping = true;
    b->parsed = b->text.n;
    b->looked = 0;
    return rc;
}

/* Whole lines out of b->text until a slice's worth is done; says in b->step what comes next. */
static void bulk_parse(struct bulk *b, bool at_end)
{
    size_t n, end = b->parsed + BULK_SLICE_BYTES;
    const char *text;

    b->step = BULK_AGAIN;
    for (unsigned i = 0; i < BULK_SLICE && b->parsed < end && b->rc == 0; i++) {
        if (!bulk_find_line(b, at_end, &text, &n)) {
            b->rc = bulk_check_length(b);
            b->step = BULK_HUNGRY;
            return;
        }
        if (b->skipping || is_blank(text, n)) {
            b->skipping = false;
        } else if (b->lines.n >= b->request->options->max_lines) {
            b->rc = bulk_lines_refuse(
                    &b->lines, 413, "this upload has more lines than this daemon takes");
            b->step = BULK_STOPPED;
            return;
        } else if (n > b->line_max_bytes) {
            b->rc = bulk_lines_refuse(&b->lines, 413, "the line is longer than this daemon takes");
        } else if (n > CODEC_ON_LOOP_BYTES) {
            b->large = (struct bulk_parsed){ .rules = b->rules, .text = text, .n = n };
            b->step = BULK_LARGE;
            return;
        } else {
            b->rc = bulk_parse_line(b, text, n);
        }
        bulk_next_line(b, n);
        if (b->slice && b->slice->n == BULK_SLICE)
            return;
    }
}

static void bulk_parse_some(void *arg)
{
    bulk_parse(arg, false);
}

static void bulk_parse_last(void *arg)
{
    bulk_parse(arg, true);
}

static void bulk_keep_large(void *arg)
{
    struct bulk *b = arg;

    b->rc = bulk_keep(b, &b->large);
    bulk_next_line(b, b->large.n);
    bulk_parsed_done(&b->large);
}

/* The thread has b->large, and reads the text of it, which stays where it is meanwhile. */
CO_SUSPENDS static int bulk_take_large(struct bulk *b)
{
    int rc = co_to_thread(bulk_parse_text, &b->large, NULL);

    if (rc < 0)
        bulk_parsed_done(&b->large);
    else
        co_on_loop(bulk_keep_large, b);
    return rc;
}

static void bulk_drop_slice(struct bulk_slice *s)
{
    for (size_t i = 0; i < s->n; i++)
        job_spec_done(&s->specs[i]);
    s->bulk->slices_bytes -= s->bytes;
    list_remove(&s->node);
    free(s);
}

static void bulk_account(struct bulk *b)
{
    request_holds(b->request, (int64_t)(b->text.n + b->slices_bytes + bulk_lines_bytes(&b->lines)));
}

CO_SUSPENDS static int bulk_submit(void *arg)
{
    struct bulk_slice *s = arg;
    struct bulk *b = s->bulk;
    enum submit_outcome outcomes[BULK_SLICE];
    int rc = service_submit(b->request->service, s->specs, s->n, s->jobs, outcomes);

    for (size_t i = 0; i < s->n; i++) {
        struct bulk_line *line = &b->lines.lines[s->line[i]];

        if (rc < 0)
            bulk_line_set_error(line, b->request->service, rc);
        else if (s->jobs[i])
            bulk_line_set_job(line, s->jobs[i]->id, outcomes[i]);
        else
            bulk_line_set_refusal(line, idempotency_refusal(outcomes[i]));
        if (rc == 0)
            job_unref(s->jobs[i]);
    }
    bulk_drop_slice(s);
    bulk_account(b);
    co_gate_leave(&b->gate);
    return 0;
}

/* Suspends while BULK_IN_FLIGHT slices are under way. */
CO_SUSPENDS static int bulk_flush(struct bulk *b)
{
    struct bulk_slice *s = TAKE_PTR(b->slice);
    int rc;

    if (!s || s->n == 0) {
        b->slice = s;
        return 0;
    }
    rc = co_gate_enter(&b->gate);
    if (rc == 0 && co_group_spawn(&b->group, "bulk slice", bulk_submit, s, NULL) < 0)
        bulk_submit(s);
    return rc;
}

/* Parses all whole lines that have arrived, and sends them off. */
CO_SUSPENDS static int bulk_take(struct bulk *b, bool at_end)
{
    int rc = 0;

    do {
        co_on_loop(at_end ? bulk_parse_last : bulk_parse_some, b);
        if (b->rc == 0 && b->step == BULK_LARGE)
            rc = bulk_take_large(b);
        if (rc == 0)
            rc = b->rc;
        if (rc == 0)
            rc = bulk_flush(b);
        if (rc == 0 && b->step == BULK_AGAIN)
            rc = co_yield();
    } while (rc == 0 && (b->step == BULK_AGAIN || b->step == BULK_LARGE));
    buf_consume(&b->text, b->parsed);
    b->parsed = 0;
    bulk_account(b);
    return rc;
}

/* One line stands for all that were not read. */
static int bulk_refuse_rest(struct bulk *b, int why)
{
    struct bulk_line *line = bulk_lines_add(&b->lines);

    if (!line)
        return -ENOMEM;
    bulk_line_set_error(line, b->request->service, why);
    return 0;
}

/* The upload to its end. -ECONNRESET: it was cut off. */
CO_SUSPENDS static int bulk_run(struct bulk *b, struct reply *reply)
{
    int rc = 1;

    while (rc > 0 && b->step != BULK_STOPPED) {
        rc = request_read(b->request, &b->text);
        if (rc >= 0) {
            int taken = bulk_take(b, rc == 0);

            rc = taken < 0 ? taken : rc;
        }
    }
    if (rc == -EFBIG)
        rc = bulk_lines_refuse(&b->lines, 413, "the upload is larger than this daemon takes");
    else if (rc == -ENOBUFS)
        rc = bulk_refuse_rest(b, rc);
    else if (b->step != BULK_STOPPED)
        return rc;
    reply->close = true;
    return rc < 0 ? rc : 0;
}

static void bulk_done(struct bulk *b)
{
    list_for_each_safe (it, &b->slices)
        bulk_drop_slice(list_entry(it, struct bulk_slice, node));
    bulk_lines_done(&b->lines);
    buf_done(&b->text);
    service_rules_unref(b->rules);
}

int bulk_post(struct request *r, struct reply *reply)
{
    struct bulk b = { .request = r };
    int64_t body_max = r->options->max_body_bytes;
    int rc, joined;

    if (query_parameter(r, "wait"))
        faults_parameter(&r->faults, "wait", "does not apply to many jobs: wait for each");
    if (query_parameter(r, "body"))
        faults_parameter(&r->faults, "body", "does not apply to many jobs");
    if (query_is_bad(r, reply))
        return 0;
    b.rules = service_rules_ref(r->service);
    b.line_max_bytes = body_max < BULK_LINE_MAX_BYTES ? (size_t)body_max : BULK_LINE_MAX_BYTES;
    list_init(&b.slices);
    co_gate_init(&b.gate, BULK_IN_FLIGHT);
    co_group_open(&b.group);
    rc = bulk_run(&b, reply);
    joined = co_group_close(&b.group, 0); /* lines that came are kept, whatever came of the rest */
    if (rc == 0)
        rc = joined;
    if (rc == 0)
        rc = bulk_lines_answer(&b.lines, reply);
    bulk_done(&b);
    return rc == -ECONNRESET ? -ECANCELED : rc;
}
