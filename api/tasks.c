/*
 * The live coroutines. The snapshot is made on the main loop; names of functions, and the text, on a
 * pool thread.
 */
#include <errno.h>
#include <stdio.h>

#include "api/accept.h"
#include "api/handlers.h"
#include "api/request.h"
#include "daemon/base/clock.h"
#include "daemon/base/symbol.h"

#define TEXT_PLAIN "text/plain"
#define ID_SIZE    24         /* two numbers of 32 bits and a point */
#define MAX_BYTES  (16 << 20) /* of tasks that are listed; all of them are counted */

struct tasks {
    struct co_snapshot snapshot;
    struct symbols *symbols;
    struct buf *out;
};

static json_t *id_json(struct co_task t)
{
    char id[ID_SIZE];

    snprintf(id, sizeof(id), "%u.%u", t.slot, t.gen);
    return shape_text(id);
}

static json_t *awaited_json(const struct co_task *awaited, unsigned n)
{
    json_t *array = json_array();

    for (unsigned i = 0; i < n; i++)
        shape_push(&array, id_json(awaited[i]));
    return array;
}

static json_t *backtrace_json(struct symbols *s, const struct co_info *info)
{
    json_t *array = json_array();
    char *const *texts;

    for (unsigned i = 0; i < info->n_frames; i++) {
        size_t n = symbols_find(s, info->frames[i], &texts);

        for (size_t k = 0; k < n; k++)
            shape_push(&array, shape_text(texts[k]));
    }
    return array;
}

static json_t *task_json(
        const struct tasks *t, const struct co_info *info, const struct co_task *awaited)
{
    int64_t waited_ns = co_snapshot_waited_ns(&t->snapshot, info);
    bool waits = info->state == CO_WAITING;
    json_t *o = json_object(), *backtrace = backtrace_json(t->symbols, info);
    json_t *where = json_array_get(backtrace, 0);

    shape_set(&o, "id", id_json(info->task));
    shape_set(&o, "name", shape_text(info->name));
    shape_set(&o, "state", shape_text(co_state_name(info->state)));
    shape_set(&o, "awaits", shape_text(waits ? co_awaits_name(info->awaits) : NULL));
    shape_set(&o, "awaited", awaited_json(awaited, info->n_awaited));
    shape_set(
            &o, "waiting_ms", waits ? shape_thousandths(waited_ns / CLOCK_NS_PER_US) : json_null());
    shape_set(&o, "cancelling", json_integer(info->cancels));
    shape_set(&o, "stack_bytes",
            info->stack_bytes ? json_integer((json_int_t)info->stack_bytes) : json_null());
    shape_set(&o, "where", where ? json_incref(where) : json_null());
    shape_set(&o, "backtrace", backtrace);
    return o;
}

/* Task by task: thousands of them are never a tree in memory. */
static int write_json(const struct tasks *t)
{
    const struct co_snapshot *s = &t->snapshot;
    const struct co_task *awaited = s->awaited;
    int rc = buf_append_str(t->out, "{\"data\":[");

    for (size_t i = 0; i < s->n && t->out->n < MAX_BYTES && rc == 0; i++) {
        json_t *o = task_json(t, &s->tasks[i], awaited);

        awaited += s->tasks[i].n_awaited;
        if (i > 0)
            rc = buf_append(t->out, ",", 1);
        if (rc == 0)
            rc = shape_write(o, t->out);
        json_decref(o);
    }
    return rc < 0 ? rc : buf_printf(t->out, "],\"count\":%zu}\n", s->n);
}

/* On a pool thread. */
static int tasks_json(void *arg)
{
    struct tasks *t = arg;
    int rc = symbols_new(&t->symbols);

    if (rc == 0)
        rc = write_json(t);
    symbols_free(t->symbols);
    return rc;
}

static ssize_t append_text(void *arg, const char *data, size_t n)
{
    const struct buf *out = arg;

    return out->n >= MAX_BYTES || buf_append(arg, data, n) == 0 ? (ssize_t)n : -1;
}

/* On a pool thread. */
static int tasks_text(void *arg)
{
    struct tasks *t = arg;
    FILE *f = fopencookie(t->out, "w", (cookie_io_functions_t){ .write = append_text });
    int rc;

    if (!f)
        return -ENOMEM;
    rc = co_snapshot_write(&t->snapshot, f);
    return fclose(f) == 0 ? rc : -ENOMEM;
}

/* Suspends. */
CO_SUSPENDS static int look(int (*write)(void *arg), struct buf *out)
{
    struct tasks t = { .out = out };
    int result = 0, rc = co_snapshot(&t.snapshot);

    if (rc == 0)
        rc = co_to_thread(write, &t, &result);
    co_snapshot_done(&t.snapshot);
    return rc < 0 ? rc : result;
}

int tasks_get(struct request *r, struct reply *reply)
{
    bool text = accept_prefers(r->accept, TEXT_PLAIN, REPLY_JSON);
    struct co_lock *lock = request_heavy_lock(r);
    int rc = co_lock_enter(lock);

    if (rc < 0)
        return rc;
    rc = look(text ? tasks_text : tasks_json, &reply->body);
    co_lock_leave(lock);
    if (rc == 0)
        rc = reply_add_header(reply, "Vary", "Accept");
    reply->status = 200;
    return rc < 0 ? rc : reply_set_type(reply, text ? TEXT_PLAIN "; charset=utf-8" : REPLY_JSON);
}
