#include "api/bulk_lines.h"

#include <errno.h>
#include <stdlib.h>

#include "api/faults.h"
#include "daemon/co/co.h"

#define WRITE_SLICE    2000 /* result lines written before others run */
#define ACCEPTED_BYTES 64   /* the text of a usual line */

void bulk_lines_done(struct bulk_lines *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->lines[i].answer);
    free(l->lines);
}

size_t bulk_lines_bytes(const struct bulk_lines *l)
{
    return l->capacity * sizeof(*l->lines) + 2 * l->answers_bytes + l->n * ACCEPTED_BYTES;
}

struct bulk_line *bulk_lines_add(struct bulk_lines *l)
{
    if (l->n == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 256;
        struct bulk_line *lines = reallocarray(l->lines, capacity, sizeof(*lines));

        if (!lines)
            return NULL;
        l->lines = lines;
        l->capacity = capacity;
    }
    l->lines[l->n] = (struct bulk_line){ 0 };
    return &l->lines[l->n++];
}

int bulk_lines_refuse(struct bulk_lines *l, unsigned status, const char *detail)
{
    struct bulk_line *line = bulk_lines_add(l);

    if (!line)
        return -ENOMEM;
    line->status = (unsigned short)status;
    line->detail = detail;
    return 0;
}

/* The whole line of the answer, so that it takes no more memory than its text. */
int bulk_lines_keep_faults(struct bulk_lines *l, unsigned status, const struct faults *faults)
{
    struct bulk_line *line = bulk_lines_add(l);
    struct buf text = { 0 };
    json_t *o;
    int rc;

    if (!line)
        return -ENOMEM;
    line->status = (unsigned short)status;
    o = json_object();
    shape_set(&o, "status", json_integer(status));
    shape_set(&o, "errors", faults_json(faults));
    rc = shape_write_line(o, &text);
    if (rc == 0)
        rc = buf_append(&text, "", 1);
    if (rc < 0)
        buf_done(&text);
    line->answer = text.data;
    l->answers_bytes += text.capacity;
    return rc;
}

void bulk_line_set_job(struct bulk_line *l, struct uuid7 id, enum submit_outcome outcome)
{
    l->status = 202;
    l->id = id;
    l->replayed = outcome == SUBMIT_REPLAYED;
}

void bulk_line_set_refusal(struct bulk_line *l, const struct idempotency_refusal *refusal)
{
    l->status = (unsigned short)refusal->status;
    l->detail = refusal->detail;
    l->keyed = true;
}

void bulk_line_set_error(struct bulk_line *l, const struct service *s, int rc)
{
    l->status = (unsigned short)reply_error_status(rc);
    l->detail = reply_error_detail(rc);
    l->retry_after_s = reply_error_retry_after_s(s, rc);
}

static int write_refused(const struct bulk_line *line, struct buf *out)
{
    json_t *o = json_object(), *error = json_object(), *errors = json_array();

    shape_set(&error, "detail",
            shape_text(line->detail ? line->detail : reply_error_detail(-ECANCELED)));
    if (line->keyed)
        shape_set(&error, "pointer", shape_text("/idempotency_key"));
    shape_push(&errors, error);
    shape_set(&o, "status", json_integer(line->status ? line->status : 503));
    shape_set(&o, "errors", errors);
    if (line->retry_after_s > 0)
        shape_set(&o, "retry_after_s", json_integer(line->retry_after_s));
    return shape_write_line(o, out);
}

static int write_line(const struct bulk_line *line, struct buf *out)
{
    char id[UUID7_TEXT_SIZE];
    int rc;

    if (line->answer)
        return buf_append_str(out, line->answer);
    if (line->status != 202)
        return write_refused(line, out);
    uuid7_format(line->id, id);
    rc = buf_append_str(out, "{\"status\":202,\"id\":\"");
    if (rc == 0)
        rc = buf_append(out, id, UUID7_TEXT_SIZE - 1);
    return rc < 0 ? rc : buf_append_str(out, line->replayed ? "\",\"replayed\":true}\n" : "\"}\n");
}

struct bulk_writer {
    const struct bulk_lines *lines;
    struct buf *out;
    size_t next;
    int rc;
};

static void write_slice(void *arg)
{
    struct bulk_writer *w = arg;

    for (size_t i = 0; i < WRITE_SLICE && w->next < w->lines->n && w->rc == 0; i++)
        w->rc = write_line(&w->lines->lines[w->next++], w->out);
}

/* When any of the lines may be sent again; 0: none asks for that. */
static unsigned retry_after_s(const struct bulk_lines *l)
{
    unsigned most = 0;

    for (size_t i = 0; i < l->n; i++)
        if (l->lines[i].retry_after_s > most)
            most = l->lines[i].retry_after_s;
    return most;
}

int bulk_lines_answer(const struct bulk_lines *l, struct reply *reply)
{
    struct bulk_writer w = { .lines = l, .out = &reply->body };
    unsigned again_s = retry_after_s(l);
    int rc = 0;

    while (w.next < l->n && w.rc == 0 && rc == 0) {
        if (w.next > 0)
            rc = co_yield();
        if (rc == 0)
            co_on_loop(write_slice, &w);
    }
    reply->status = 200;
    if (rc == 0)
        rc = w.rc;
    if (rc == 0 && again_s > 0)
        rc = reply_add_header(reply, "Retry-After", "%u", again_s);
    return rc < 0 ? rc : reply_set_type(reply, REPLY_NDJSON);
}
