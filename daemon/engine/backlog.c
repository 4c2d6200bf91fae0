#include "daemon/engine/backlog.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/co/co.h"
#include "daemon/engine/activation.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/intake.h"
#include "daemon/store/store.h"

#define LATER_US   1000000 /* due later than this counts as "later" */
#define AHEAD_US   100000  /* jobs are brought in so long before they are due */
#define PAGE_MAX   256     /* jobs of one page */
#define PAGERS_MAX 4
#define AGAIN_US   1000000 /* after an error of the store, or a lack of memory */

/* Jobs of one lane and one priority that are out. */
struct backlog_class {
    struct list node; /* in its lane's, the highest priority first */
    struct backlog_lane *lane;
    int priority;
    int64_t due_us; /* none is due earlier; CLOCK_NEVER: nothing noted since its page was asked for */
    struct due_item due;
};

struct backlog_lane {
    struct table_node by_key;
    int64_t key;
    struct engine *engine;
    struct list classes;
    struct list wanting; /* in backlog.wanting, or in backlog.hungry */
    bool hungry;         /* it is in that one */
    bool paging;
};

static void backlog_ends_due(struct due_item *item);

static void ends_arm(struct engine *e)
{
    struct backlog *b = &e->backlog;

    due_remove(&e->due, &b->ends);
    if (b->ends_us != CLOCK_NEVER && !b->ending && due_add(&e->due, &b->ends, b->ends_us) < 0)
        postpone_rest(e);
}

void backlog_init(struct backlog *b)
{
    *b = (struct backlog){ .ends_us = CLOCK_NEVER };
    list_init(&b->wanting);
    list_init(&b->hungry);
    due_item_init(&b->ends, backlog_ends_due);
}

static void class_free(struct backlog_class *c)
{
    due_remove(&c->lane->engine->due, &c->due);
    list_remove(&c->node);
    free(c);
}

static void lane_free(struct backlog *b, struct backlog_lane *l)
{
    list_for_each_safe (it, &l->classes)
        class_free(list_entry(it, struct backlog_class, node));
    list_remove(&l->wanting);
    table_remove(&b->lanes, &l->by_key);
    free(l);
}

void backlog_done(struct backlog *b, struct due *due)
{
    for (size_t i = 0; i < b->lanes.n_buckets; i++)
        while (b->lanes.buckets[i])
            lane_free(b, table_entry(b->lanes.buckets[i], struct backlog_lane, by_key));
    due_remove(due, &b->ends);
    table_done(&b->lanes);
}

static struct backlog_lane *backlog_find(const struct backlog *b, int64_t key)
{
    struct table_node *n;

    if (b->lanes.n == 0)
        return NULL;
    for (n = table_first(&b->lanes, table_hash_int((uint64_t)key)); n; n = table_next(n))
        if (table_entry(n, struct backlog_lane, by_key)->key == key)
            return table_entry(n, struct backlog_lane, by_key);
    return NULL;
}

bool backlog_has_lane(const struct backlog *b, int64_t lane)
{
    return backlog_find(b, lane);
}

/* --- when a page is due --- */

static size_t lane_in_memory(const struct engine *e, int64_t key)
{
    return key == 0 ? e->local.n : lanes_queued(&e->lanes, key);
}

static bool lane_is_hungry(const struct engine *e, int64_t key)
{
    return key == 0 ? e->local.n == 0 : lanes_want_more(&e->lanes, key);
}

/* Past all bytes it is one at a time, lest what waits for another's end keeps that out. */
static bool backlog_is_shut(const struct engine *e)
{
    const struct window *w = &e->records.window;

    return w->bytes >= w->max_bytes && e->n_busy > 0;
}

/* How many of a lane's jobs may queue in memory: more while there is plenty of room. */
static size_t lane_ahead(const struct engine *e)
{
    const struct window *w = &e->records.window;

    return w->n < w->max / 2 && w->max / 4 > BACKLOG_LANE_AHEAD ? w->max / 4 : BACKLOG_LANE_AHEAD;
}

/* How many of the lane's jobs may come in now. */
static size_t lane_room(const struct engine *e, int64_t key)
{
    const struct window *w = &e->records.window;
    size_t here = lane_in_memory(e, key), ahead = lane_ahead(e), room;

    if (here >= ahead || backlog_is_shut(e))
        return 0;
    room = window_has_room(w, false) ? w->max - w->n : 0;
    if (room == 0 && lane_is_hungry(e, key))
        room = 1; /* so that the jobs of others never keep a lane from going on */
    if (room > ahead - here)
        room = ahead - here;
    return room < PAGE_MAX ? room : PAGE_MAX;
}

/* The class that a page is to be taken from. */
static struct backlog_class *lane_due_class(const struct backlog_lane *l)
{
    int64_t by_us = clock_now_us(&l->engine->clock) + AHEAD_US;

    list_for_each (it, &l->classes) {
        struct backlog_class *c = list_entry(it, struct backlog_class, node);

        if (c->due_us <= by_us)
            return c;
    }
    return NULL;
}

static void lane_stop_wanting(struct backlog_lane *l)
{
    list_remove(&l->wanting);
    l->hungry = false;
}

static void lane_enqueue(struct backlog_lane *l)
{
    struct engine *e = l->engine;

    if (l->paging || l->hungry)
        return;
    if (lane_is_hungry(e, l->key)) {
        list_remove(&l->wanting);
        list_append(&e->backlog.hungry, &l->wanting);
        l->hungry = true;
    } else if (list_empty(&l->wanting)) {
        list_append(&e->backlog.wanting, &l->wanting);
    }
}

static void lane_want(struct backlog_lane *l)
{
    lane_enqueue(l);
    backlog_room_made(l->engine);
}

static void class_arm(struct backlog_class *c)
{
    struct engine *e = c->lane->engine;

    due_remove(&e->due, &c->due);
    if (c->due_us == CLOCK_NEVER || c->lane->paging)
        return;
    if (c->due_us <= clock_now_us(&e->clock) + AHEAD_US)
        lane_want(c->lane);
    else if (due_add(&e->due, &c->due, c->due_us - AHEAD_US) < 0)
        postpone_rest(e);
}

static void class_due(struct due_item *item)
{
    lane_want(CONTAINER_OF(item, struct backlog_class, due)->lane);
}

/* --- pages --- */

CO_SUSPENDS static int backlog_page(struct backlog_lane *l, struct backlog_class *c, size_t room)
{
    struct engine *e = l->engine;
    const struct window *w = &e->records.window;
    int64_t left = window_shared_bytes(w) - w->bytes;
    CLEANUP(store_page_done) struct store_page page = { 0 };
    int64_t was_us = c->due_us;
    int rc;

    c->due_us = CLOCK_NEVER; /* what is noted from here on is not lost */
    rc = store_page_class(e->store, l->key, c->priority, clock_now_us(&e->clock) + AHEAD_US, room,
            left > 0 ? left : 0, &page);
    if (rc < 0) {
        if (was_us < c->due_us)
            c->due_us = was_us;
        return rc;
    }
    if (page.next && page.next < c->due_us)
        c->due_us = page.next;
    for (size_t i = 0; i < page.n; i++)
        intake_let_in(e, page.jobs[i]);
    return 0;
}

static void lane_after_pages(struct backlog_lane *l)
{
    struct backlog *b = &l->engine->backlog;

    list_for_each_safe (it, &l->classes) {
        struct backlog_class *c = list_entry(it, struct backlog_class, node);

        if (c->due_us == CLOCK_NEVER)
            class_free(c);
    }
    if (list_empty(&l->classes)) {
        lane_free(b, l);
        return;
    }
    list_for_each (it, &l->classes) {
        struct backlog_class *c = list_entry(it, struct backlog_class, node);

        if (c->due_us > clock_now_us(&l->engine->clock) + AHEAD_US)
            class_arm(c);
    }
    /* Else backlog_lane_low() wants the next page. */
    if (lane_due_class(l) && lane_in_memory(l->engine, l->key) < BACKLOG_LANE_AHEAD / 2)
        lane_enqueue(l);
}

CO_SUSPENDS static int backlog_pager(void *arg)
{
    struct backlog_lane *l = arg;
    struct engine *e = l->engine;
    struct backlog_class *c;
    size_t room;
    int rc = 0;

    while (!e->stopping && (c = lane_due_class(l)) && (room = lane_room(e, l->key)) > 0) {
        rc = backlog_page(l, c, room);
        if (rc < 0) {
            c->due_us = clock_now_us(&e->clock) + AGAIN_US;
            log_warning(
                    "jobs can't be read from the store: %s; they are tried again", strerror(-rc));
            break;
        }
        if (lane_in_memory(e, l->key) >= BACKLOG_LANE_AHEAD / 2)
            break; /* the next lane's turn */
    }
    l->paging = false;
    e->backlog.n_pagers--;
    lane_after_pages(l);
    backlog_room_made(e);
    return 0;
}

static void backlog_start_pager(struct engine *e, struct backlog_lane *l)
{
    lane_stop_wanting(l);
    l->paging = true;
    e->backlog.n_pagers++;
    if (co_spawn_detached("page in", backlog_pager, l) == 0)
        return;
    l->paging = false;
    e->backlog.n_pagers--;
    postpone_rest(e);
}

void backlog_room_made(struct engine *e)
{
    struct backlog *b = &e->backlog;

    if (!e->started || e->stopping || backlog_is_shut(e))
        return;
    list_for_each_safe (it, &b->hungry) {
        struct backlog_lane *l = list_entry(it, struct backlog_lane, wanting);

        if (b->n_pagers == PAGERS_MAX)
            return;
        if (lane_room(e, l->key) > 0) {
            backlog_start_pager(e, l);
        } else { /* not any more */
            lane_stop_wanting(l);
            list_append(&b->wanting, &l->wanting);
        }
    }
    list_for_each_safe (it, &b->wanting) {
        struct backlog_lane *l = list_entry(it, struct backlog_lane, wanting);

        if (b->n_pagers == PAGERS_MAX)
            return;
        if (lane_room(e, l->key) > 0)
            backlog_start_pager(e, l);
        else if (!window_has_room(&e->records.window, false))
            return; /* nobody's turn but of the hungry ones */
        else
            list_remove(&l->wanting);
    }
}

void backlog_lane_low(struct engine *e, int64_t lane)
{
    struct backlog_lane *l = backlog_find(&e->backlog, lane);

    if (l && !l->paging && lane_due_class(l))
        lane_want(l);
}

/* --- what goes out --- */

bool backlog_keeps_out(struct engine *e, const struct job *j, enum job_step step, int64_t due_us)
{
    const struct window *w = &e->records.window;
    int64_t key = job_lane_key(j, step);
    const struct backlog_lane *l;
    struct backlog_class *c;

    if (due_us > clock_now_us(&e->clock) + LATER_US)
        return !window_has_room(w, true);
    l = backlog_find(&e->backlog, key);
    if (l && l->paging)
        return true; /* it is not known who else is out: behind them */
    c = l ? lane_due_class(l) : NULL;
    if ((c && c->priority >= j->spec.priority) || lane_in_memory(e, key) >= lane_ahead(e))
        return true;
    return !window_has_room(w, false); /* a hungry lane brings it in at once */
}

static struct backlog_lane *lane_make(struct engine *e, int64_t key)
{
    struct backlog_lane *l = backlog_find(&e->backlog, key);

    if (l)
        return l;
    l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->key = key;
    l->engine = e;
    list_init(&l->classes);
    list_init(&l->wanting);
    if (table_add(&e->backlog.lanes, &l->by_key, table_hash_int((uint64_t)key)) < 0) {
        free(l);
        return NULL;
    }
    return l;
}

static struct backlog_class *class_make(struct backlog_lane *l, int priority)
{
    struct list *before = &l->classes;
    struct backlog_class *c;

    list_for_each (it, &l->classes) {
        c = list_entry(it, struct backlog_class, node);
        if (c->priority == priority)
            return c;
        if (c->priority < priority) {
            before = it;
            break;
        }
    }
    c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->lane = l;
    c->priority = priority;
    c->due_us = CLOCK_NEVER;
    due_item_init(&c->due, class_due);
    list_append(before, &c->node); /* before that one, or at the end */
    return c;
}

int backlog_note(struct engine *e, int64_t lane, int priority, int64_t due_us)
{
    struct backlog_lane *l = lane_make(e, lane);
    struct backlog_class *c = l ? class_make(l, priority) : NULL;

    if (!c) {
        if (l && list_empty(&l->classes) && !l->paging)
            lane_free(&e->backlog, l);
        return -ENOMEM;
    }
    if (due_us < c->due_us) {
        c->due_us = due_us;
        class_arm(c);
    }
    return 0;
}

void backlog_rearm(struct engine *e)
{
    struct backlog *b = &e->backlog;

    for (size_t i = 0; i < b->lanes.n_buckets; i++)
        for (struct table_node *n = b->lanes.buckets[i]; n; n = n->next)
            list_for_each (it, &table_entry(n, struct backlog_lane, by_key)->classes)
                class_arm(list_entry(it, struct backlog_class, node));
    ends_arm(e);
}

void backlog_recheck(struct engine *e)
{
    for (size_t i = 0; i < e->backlog.lanes.n_buckets; i++)
        for (struct table_node *n = e->backlog.lanes.buckets[i]; n; n = n->next)
            list_for_each (it, &table_entry(n, struct backlog_lane, by_key)->classes) {
                struct backlog_class *c = list_entry(it, struct backlog_class, node);

                c->due_us = 0;
                class_arm(c);
            }
}

/* --- deadlines of what is out --- */

CO_SUSPENDS static int backlog_end_main(void *arg)
{
    struct engine *e = arg;
    struct backlog *b = &e->backlog;
    int rc = 0;

    while (rc == 0 && !e->stopping && b->ends_us <= clock_now_us(&e->clock)) {
        CLEANUP(store_page_done) struct store_page page = { 0 };

        b->ends_us = CLOCK_NEVER;
        rc = store_page_ends(e->store, clock_now_us(&e->clock), PAGE_MAX, &page);
        if (rc == 0 && page.next && page.next < b->ends_us)
            b->ends_us = page.next;
        for (size_t i = 0; i < page.n; i++)
            intake_let_in(e, page.jobs[i]); /* its deadline is up, so it ends at once */
    }
    b->ending = false;
    if (rc < 0)
        b->ends_us = clock_now_us(&e->clock) + AGAIN_US;
    ends_arm(e);
    return rc;
}

static void backlog_ends_due(struct due_item *item)
{
    struct engine *e = CONTAINER_OF(item, struct engine, backlog.ends);

    if (e->stopping || e->backlog.ending)
        return;
    e->backlog.ending = co_spawn_detached("deadlines", backlog_end_main, e) == 0;
    if (!e->backlog.ending)
        postpone_rest(e);
}

void backlog_note_ends(struct engine *e, int64_t ends_us)
{
    if (ends_us == 0 || ends_us >= e->backlog.ends_us)
        return;
    e->backlog.ends_us = ends_us;
    ends_arm(e);
}

/* --- members that a batch holds back --- */

int backlog_page_held(struct engine *e, struct run *run)
{
    CLEANUP(store_page_done) struct store_page page = { 0 };
    size_t n = window_has_room(&e->records.window, true) ? BACKLOG_HELD_AHEAD : 1;
    int rc = store_page_batch(e->store, run->batch.id.key, run->held_from, true, n, &page);

    if (rc < 0)
        return rc;
    run->held_from = page.next;
    run->held_out = page.next != 0;
    for (size_t i = 0; i < page.n; i++)
        intake_let_in(e, page.jobs[i]);
    return 0;
}
