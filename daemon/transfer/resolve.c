/*
 * One c-ares channel, and a table of names. A name is looked up at most once at a time, whoever
 * asks; its query belongs to the resolver, so those who wait may come and go.
 *
 * - c-ares runs on the loop's own stack; its callbacks record and wake.
 * - A query is only ever started by resolver_advance(), never from within a callback.
 * - A name that is pending or has waiters is not evicted.
 * - Changed files swap the channel: queries that were running start again on the new one.
 */
#include "daemon/transfer/resolve.h"

#include <ares.h>
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "daemon/base/list.h"
#include "daemon/base/loop.h"
#include "daemon/base/table.h"
#include "daemon/co/co.h"
#include "daemon/transfer/resolve_files.h"

#define NAMES_MAX 10000
#define QUERIES_MAX \
    1024 /* at once; each is two packets, and the answers must fit a socket buffer */
#define TTL_MIN_S   1
#define TTL_MAX_S   30
#define NEGATIVE_S  5
#define FAILED_S    1 /* a broken name server is asked again before a job's first retry */
#define LOOKUP_NS   (5 * CLOCK_US_PER_S * CLOCK_NS_PER_US)
#define TRY_MS      1500 /* then 3000 */
#define TRIES       2
#define TICK_MAX_US 500000 /* while queries run: c-ares' own timeouts are at most this late */
#define UDP_BUFFER  (1024 * 1024)

struct name {
    struct table_node node;
    struct list order;  /* all names, the longest unused first */
    struct list queued; /* waits for one of QUERIES_MAX */
    struct resolver *resolver;
    struct co_condition answered;
    unsigned waiters;
    bool pending;
    int64_t expires_us; /* monotonic */
    int rc;
    const char *why;
    unsigned n;
    union address *addresses; /* n of them */
    char host[];
};

/* A socket of c-ares. */
struct line {
    struct list node;
    struct resolver *resolver;
    struct loop_watch watch;
};

struct resolver {
    struct loop *loop;
    struct resolver_options options;
    ares_channel channel;
    struct list lines;
    struct loop_timer tick;
    bool ticking;
    struct resolve_files *files;
    struct table names;
    struct list order;
    struct list queue;
    unsigned n_queries;
    bool closing;
};

static void resolver_advance(struct resolver *r);

static void name_free(struct name *n)
{
    assert(n->waiters == 0 && !n->pending);
    list_remove(&n->order);
    list_remove(&n->queued);
    table_remove(&n->resolver->names, &n->node);
    free(n->addresses);
    free(n);
}

static void name_fail(struct name *n, int rc, int64_t for_s, const char *why)
{
    n->rc = rc;
    n->why = why;
    n->expires_us = clock_mono_us() + for_s * CLOCK_US_PER_S;
}

static void name_take(struct name *n, const struct ares_addrinfo *answer)
{
    union address *addresses = malloc(RESOLVED_MAX * sizeof(*addresses));
    int64_t ttl_s = TTL_MAX_S;

    if (!addresses) {
        name_fail(n, -ENOMEM, 0, NULL);
        return;
    }
    for (const struct ares_addrinfo_node *a = answer->nodes; a && n->n < RESOLVED_MAX;
            a = a->ai_next)
        if (address_copy(a->ai_addr, &addresses[n->n])) {
            ttl_s = a->ai_ttl < ttl_s ? a->ai_ttl : ttl_s;
            n->n++;
        }
    n->addresses = addresses;
    if (n->n == 0) {
        name_fail(n, -ENOENT, NEGATIVE_S, "the name has no address");
        return;
    }
    n->rc = 0;
    n->expires_us = clock_mono_us() + (ttl_s < TTL_MIN_S ? TTL_MIN_S : ttl_s) * CLOCK_US_PER_S;
}

static void name_judge(struct name *n, int status, const struct ares_addrinfo *answer)
{
    switch (status) {
    case ARES_SUCCESS:
        name_take(n, answer);
        return;
    case ARES_ENOTFOUND:
        name_fail(n, -ENOENT, NEGATIVE_S, "the name does not exist");
        return;
    case ARES_ENODATA:
        name_fail(n, -ENOENT, NEGATIVE_S, "the name has no address");
        return;
    case ARES_EBADNAME:
        name_fail(n, -ENOENT, NEGATIVE_S, "the name is malformed");
        return;
    case ARES_ENOMEM:
        name_fail(n, -ENOMEM, 0, NULL);
        return;
    case ARES_ETIMEOUT:
        name_fail(n, -EIO, FAILED_S, "the name servers did not answer");
        return;
    case ARES_ECONNREFUSED: /* also what is left of SERVFAIL and REFUSED from all of them */
        name_fail(n, -EIO, FAILED_S, "no name server could be reached, or all of them failed");
        return;
    default:
        name_fail(n, -EIO, FAILED_S, "the name server gave a broken answer");
        return;
    }
}

static void name_answered(void *arg, int status, int timeouts, struct ares_addrinfo *answer)
{
    struct name *n = arg;
    struct resolver *r = n->resolver;

    (void)timeouts;
    r->n_queries--;
    if (status == ARES_ECANCELLED && !r->closing) {
        list_append(&r->queue, &n->queued);
        return;
    }
    name_judge(n, status, answer);
    if (answer)
        ares_freeaddrinfo(answer);
    n->pending = false;
    co_condition_notify_all(&n->answered);
}

static void name_query(struct name *n)
{
    static const struct ares_addrinfo_hints hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
    };

    free(n->addresses);
    n->addresses = NULL;
    n->n = 0;
    n->resolver->n_queries++;
    ares_getaddrinfo(n->resolver->channel, n->host, NULL, &hints, name_answered, n);
}

static void resolver_set_tick(struct resolver *r)
{
    struct timeval most = { .tv_usec = TICK_MAX_US }, buffer, *tv;

    if (r->n_queries == 0 || r->ticking)
        return;
    tv = ares_timeout(r->channel, &most, &buffer);
    r->ticking = true;
    loop_timer_set(&r->tick, tv->tv_sec * CLOCK_US_PER_S + tv->tv_usec + 1000);
}

/* Starts what waits, as far as there is room, and sees to the timer. On the loop's own stack. */
static void resolver_advance(struct resolver *r)
{
    struct list *node;

    while (r->n_queries < QUERIES_MAX && (node = list_pop(&r->queue)))
        name_query(list_entry(node, struct name, queued));
    resolver_set_tick(r);
}

static void resolver_advance_call(void *arg)
{
    resolver_advance(arg);
}

static void resolver_ticked(struct loop_timer *t)
{
    struct resolver *r = CONTAINER_OF(t, struct resolver, tick);

    r->ticking = false;
    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    resolver_advance(r);
}

static void line_ready(struct loop_watch *w, unsigned events)
{
    struct resolver *r = CONTAINER_OF(w, struct line, watch)->resolver;
    int fd = w->fd;

    /* It may close the socket, and the line is gone then. */
    ares_process_fd(r->channel, events & LOOP_READ ? fd : ARES_SOCKET_BAD,
            events & LOOP_WRITE ? fd : ARES_SOCKET_BAD);
    resolver_advance(r);
}

static struct line *line_find(struct resolver *r, int fd)
{
    list_for_each (it, &r->lines) {
        struct line *l = list_entry(it, struct line, node);

        if (l->watch.fd == fd)
            return l;
    }
    return NULL;
}

/* Without memory a socket stays unwatched, and its queries end by their timeout. */
static void line_changed(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct resolver *r = arg;
    struct line *l = line_find(r, fd);

    if (!readable && !writable) {
        if (!l)
            return;
        loop_watch_done(&l->watch);
        list_remove(&l->node);
        free(l);
        return;
    }
    if (!l) {
        l = malloc(sizeof(*l));
        if (!l)
            return;
        l->resolver = r;
        loop_watch_init(&l->watch, r->loop, fd, line_ready);
        list_append(&r->lines, &l->node);
    }
    loop_watch_set(&l->watch, (readable ? LOOP_READ : 0) | (writable ? LOOP_WRITE : 0));
}

static int resolver_open(struct resolver *r, ares_channel *ret)
{
    struct ares_options o = {
        .timeout = TRY_MS,
        .tries = TRIES,
        .sock_state_cb = line_changed,
        .sock_state_cb_data = r,
        .socket_receive_buffer_size = UDP_BUFFER,
        .resolvconf_path = (char *)r->options.resolv_conf,
    };
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB | ARES_OPT_SOCK_RCVBUF;
    ares_channel channel;

    if (r->options.resolv_conf)
        mask |= ARES_OPT_RESOLVCONF;
    if (ares_init_options(&channel, &o, mask) != ARES_SUCCESS)
        return -ENOMEM;
    if (r->options.servers &&
            ares_set_servers_ports_csv(channel, r->options.servers) != ARES_SUCCESS) {
        ares_destroy(channel);
        return -EINVAL;
    }
    *ret = channel;
    return 0;
}

/* What is known may be wrong now; who waits, waits on. */
static void resolver_files_changed(void *arg)
{
    struct resolver *r = arg;
    ares_channel old = r->channel, channel;

    if (resolver_open(r, &channel) < 0)
        return;
    list_for_each (it, &r->order)
        list_entry(it, struct name, order)->expires_us = 0;
    ares_cancel(old);
    r->channel = channel;
    ares_destroy(old);
    resolver_advance(r);
}

int resolver_new(struct loop *l, const struct resolver_options *options, struct resolver **ret)
{
    struct resolver *r = calloc(1, sizeof(*r));
    int rc;

    if (!r)
        return -ENOMEM;
    r->loop = l;
    r->options = *options;
    list_init(&r->lines);
    list_init(&r->order);
    list_init(&r->queue);
    loop_timer_init(&r->tick, l, resolver_ticked);
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
        free(r);
        return -ENOMEM;
    }
    rc = resolver_open(r, &r->channel);
    if (rc == 0)
        rc = resolve_files_new(l, options->resolv_conf, resolver_files_changed, r, &r->files);
    if (rc < 0) {
        resolver_free(r);
        return rc;
    }
    *ret = r;
    return 0;
}

struct resolver *resolver_free(struct resolver *r)
{
    struct list *node;

    if (!r)
        return NULL;
    r->closing = true;
    resolve_files_free(r->files);
    if (r->channel)
        ares_destroy(r->channel);
    assert(r->n_queries == 0 && list_empty(&r->lines));
    loop_timer_stop(&r->tick);
    while ((node = list_pop(&r->queue)))
        list_entry(node, struct name, queued)->pending = false;
    while (!list_empty(&r->order))
        name_free(list_entry(r->order.next, struct name, order));
    table_done(&r->names);
    ares_library_cleanup();
    free(r);
    return NULL;
}

static struct name *resolver_find(struct resolver *r, const char *host, uint64_t hash)
{
    for (struct table_node *it = table_first(&r->names, hash); it; it = table_next(it)) {
        struct name *n = table_entry(it, struct name, node);

        if (strcmp(n->host, host) == 0)
            return n;
    }
    return NULL;
}

/* Makes room for one more name. False: all of them are in use. */
static bool resolver_make_room(struct resolver *r)
{
    if (r->names.n < NAMES_MAX)
        return true;
    list_for_each (it, &r->order) {
        struct name *n = list_entry(it, struct name, order);

        if (!n->pending && n->waiters == 0) {
            name_free(n);
            return true;
        }
    }
    return false;
}

static struct name *resolver_add(struct resolver *r, const char *host, uint64_t hash)
{
    size_t size = strlen(host) + 1;
    struct name *n = calloc(1, sizeof(*n) + size);

    if (!n)
        return NULL;
    n->resolver = r;
    memcpy(n->host, host, size);
    list_init(&n->queued);
    co_condition_init(&n->answered);
    if (table_add(&r->names, &n->node, hash) < 0) {
        free(n);
        return NULL;
    }
    list_append(&r->order, &n->order);
    return n;
}

/* Suspends. Until the name is not pending. */
CO_SUSPENDS static int name_wait(struct name *n)
{
    struct co_scope scope;
    int rc = 0;

    co_scope_open(&scope, clock_mono_ns() + LOOKUP_NS, 0);
    n->waiters++;
    while (rc == 0 && n->pending)
        rc = co_condition_wait(&n->answered);
    n->waiters--;
    return co_scope_close(&scope, rc);
}

static int name_copy(const struct name *n, struct resolved *ret, const char **ret_why)
{
    if (n->rc < 0) {
        *ret_why = n->why;
        return n->rc;
    }
    ret->n = n->n;
    memcpy(ret->addresses, n->addresses, n->n * sizeof(*n->addresses));
    return 0;
}

int resolver_lookup(
        struct resolver *r, const char *host, struct resolved *ret, const char **ret_why)
{
    uint64_t hash = table_hash_bytes(host, strlen(host));
    struct name *n = resolver_find(r, host, hash);
    int rc;

    if (!n) {
        *ret_why = "too many names are looked up at once";
        if (!resolver_make_room(r))
            return -EBUSY;
        n = resolver_add(r, host, hash);
        if (!n)
            return -ENOMEM;
    }
    list_remove(&n->order);
    list_append(&r->order, &n->order);
    if (!n->pending && n->expires_us <= clock_mono_us()) {
        n->pending = true;
        list_append(&r->queue, &n->queued);
        co_on_loop(resolver_advance_call, r);
    }
    if (n->pending) {
        rc = name_wait(n);
        if (rc == -ETIMEDOUT)
            *ret_why = "the name servers did not answer within 5 s";
        if (rc < 0)
            return rc;
    }
    return name_copy(n, ret, ret_why);
}
