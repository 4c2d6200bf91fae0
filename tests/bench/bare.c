/*
 * What the daemon's fetch path is measured against: libevent and one curl multi through its socket
 * interface, on one thread, a fixed number of GETs at once over the given URLs. Nothing is stored.
 *
 * Without --options the easy handles live as long as the run and carry a URL and a write callback.
 * With --options each request pays for what the daemon's checks and timings need: a parsed URL, a
 * fresh handle, the address checked when a socket is opened and again before each request, the
 * header lines collected, all timings read. Hosts are IP literals, so nothing is pinned.
 *
 * Prints one line of JSON; its CPU is for the caller to take, from wait4().
 */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_FD           4096
#define HEADERS_MAX      32768
#define TIMEOUT_MS       30000L
#define CONNECT_MS       5000L
#define BUFFER_BYTES     4096L
#define LOOPBACK_NET     0x7f000000U
#define LOOPBACK_NETMASK 0xff000000U

struct bench {
    struct event_base *base;
    struct event timer;
    CURLM *multi;
    struct event *watches[MAX_FD]; /* by descriptor, kept when it is closed */
    long requests;                 /* to make, in all */
    long concurrency;
    long started;
    long finished;
    long failed;
    long long bytes;
    bool options;
};

/* What the daemon keeps of one exchange. */
struct record {
    long status;
    long http_version;
    long connects;
    long header_bytes;
    long request_bytes;
    curl_off_t namelookup_us;
    curl_off_t connect_us;
    curl_off_t appconnect_us;
    curl_off_t pretransfer_us;
    curl_off_t starttransfer_us;
    curl_off_t total_us;
    curl_off_t sent_bytes;
    curl_off_t received_bytes;
    char remote[INET6_ADDRSTRLEN];
};

struct slot {
    struct bench *bench;
    CURL *easy;
    const char *url;
    struct curl_slist *request_headers;
    struct record record;
    char *headers;
    size_t n_headers;
    int n_sends;  /* PREREQ calls in this exchange; a second one is a silent resend */
    bool refused; /* an address that may not be called */
};

static void die(const char *what)
{
    fprintf(stderr, "bench-bare: %s\n", what);
    exit(1);
}

static void must(bool ok, const char *what)
{
    if (!ok)
        die(what);
}

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool address_allowed(const struct in_addr *a)
{
    return (ntohl(a->s_addr) & LOOPBACK_NETMASK) == LOOPBACK_NET;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct slot *s = arg;
    const struct sockaddr_in *in = (const struct sockaddr_in *)&address->addr;

    if (purpose != CURLSOCKTYPE_IPCXN || address->family != AF_INET ||
            !address_allowed(&in->sin_addr)) {
        s->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static int close_socket(void *arg, curl_socket_t fd)
{
    struct bench *b = arg;

    if (fd < MAX_FD && b->watches[fd])
        event_del(b->watches[fd]);
    return close(fd);
}

static int before_request(void *arg, char *remote, char *local, int remote_port, int local_port)
{
    struct slot *s = arg;
    struct in_addr a;

    (void)local;
    (void)remote_port;
    (void)local_port;
    if (inet_pton(AF_INET, remote, &a) != 1 || !address_allowed(&a)) {
        s->refused = true;
        return CURL_PREREQFUNC_ABORT;
    }
    return ++s->n_sends > 1 ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static size_t take_header(char *line, size_t size, size_t n, void *arg)
{
    struct slot *s = arg;

    (void)size;
    if (s->n_headers + n > HEADERS_MAX)
        return 0;
    memcpy(s->headers + s->n_headers, line, n);
    s->n_headers += n;
    return n;
}

static size_t take_body(char *bytes, size_t size, size_t n, void *arg)
{
    struct slot *s = arg;

    (void)bytes;
    (void)size;
    s->bench->bytes += (long long)n;
    return n;
}

static void slot_parse_url(struct slot *s)
{
    CURLU *u = curl_url();
    char *scheme = NULL;
    char *host = NULL;
    char *port = NULL;
    char *url = NULL;

    must(u && !curl_url_set(u, CURLUPART_URL, s->url, 0) &&
                    !curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) &&
                    !curl_url_get(u, CURLUPART_HOST, &host, 0) &&
                    !curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) &&
                    !curl_url_get(u, CURLUPART_URL, &url, 0),
            "a bad URL");
    curl_easy_setopt(s->easy, CURLOPT_URL, url);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(url);
    curl_url_cleanup(u);
}

static void slot_set_common(struct slot *s)
{
    curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, s);
    curl_easy_setopt(s->easy, CURLOPT_PRIVATE, s);
    curl_easy_setopt(s->easy, CURLOPT_NOSIGNAL, 1L); /* saves four system calls per request */
}

static void slot_set_options(struct slot *s)
{
    CURL *e = s->easy;

    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, "GET");
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, s->request_headers);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(e, CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, s);
    curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, s->bench);
    curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, before_request);
    curl_easy_setopt(e, CURLOPT_PREREQDATA, s);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, s);
}

static void slot_start(struct slot *s)
{
    if (!s->easy || s->bench->options) {
        s->easy = curl_easy_init();
        must(s->easy, "out of memory");
        slot_set_common(s);
        if (s->bench->options) {
            slot_parse_url(s);
            slot_set_options(s);
        } else {
            curl_easy_setopt(s->easy, CURLOPT_URL, s->url);
        }
    }
    s->n_headers = 0;
    s->n_sends = 0;
    s->refused = false;
    s->bench->started++;
    must(!curl_multi_add_handle(s->bench->multi, s->easy), "curl_multi_add_handle");
}

static void slot_read_timings(struct slot *s)
{
    struct record *r = &s->record;
    char *remote = NULL;

    curl_easy_getinfo(s->easy, CURLINFO_HTTP_VERSION, &r->http_version);
    curl_easy_getinfo(s->easy, CURLINFO_NUM_CONNECTS, &r->connects);
    curl_easy_getinfo(s->easy, CURLINFO_HEADER_SIZE, &r->header_bytes);
    curl_easy_getinfo(s->easy, CURLINFO_REQUEST_SIZE, &r->request_bytes);
    curl_easy_getinfo(s->easy, CURLINFO_NAMELOOKUP_TIME_T, &r->namelookup_us);
    curl_easy_getinfo(s->easy, CURLINFO_CONNECT_TIME_T, &r->connect_us);
    curl_easy_getinfo(s->easy, CURLINFO_APPCONNECT_TIME_T, &r->appconnect_us);
    curl_easy_getinfo(s->easy, CURLINFO_PRETRANSFER_TIME_T, &r->pretransfer_us);
    curl_easy_getinfo(s->easy, CURLINFO_STARTTRANSFER_TIME_T, &r->starttransfer_us);
    curl_easy_getinfo(s->easy, CURLINFO_TOTAL_TIME_T, &r->total_us);
    curl_easy_getinfo(s->easy, CURLINFO_SIZE_UPLOAD_T, &r->sent_bytes);
    curl_easy_getinfo(s->easy, CURLINFO_SIZE_DOWNLOAD_T, &r->received_bytes);
    curl_easy_getinfo(s->easy, CURLINFO_PRIMARY_IP, &remote);
    snprintf(r->remote, sizeof(r->remote), "%s", remote ? remote : "");
}

static void slot_finish(struct slot *s, CURLcode code)
{
    struct bench *b = s->bench;

    curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &s->record.status);
    if (b->options)
        slot_read_timings(s);
    if (code != CURLE_OK || s->record.status != 200 || s->refused)
        b->failed++;
    b->finished++;
    curl_multi_remove_handle(b->multi, s->easy);
    if (b->options) {
        curl_easy_cleanup(s->easy);
        s->easy = NULL;
    }
    if (b->started < b->requests)
        slot_start(s);
    else if (b->finished == b->requests)
        event_base_loopbreak(b->base);
}

static void take_finished(struct bench *b)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(b->multi, &left))) {
        struct slot *s = NULL;

        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&s);
        slot_finish(s, m->data.result);
    }
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
    struct bench *b = arg;
    int action = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
    int running;

    curl_multi_socket_action(b->multi, fd, action, &running);
    take_finished(b);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct bench *b = arg;
    int running;

    (void)fd;
    (void)what;
    curl_multi_socket_action(b->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    take_finished(b);
}

static int set_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct bench *b = arg;
    struct timeval in = { timeout_ms / 1000, timeout_ms % 1000 * 1000 };

    (void)multi;
    if (timeout_ms < 0)
        event_del(&b->timer);
    else
        event_add(&b->timer, &in);
    return 0;
}

static int set_watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
    struct bench *b = arg;
    short events = EV_PERSIST;

    (void)easy;
    (void)unused;
    must(fd < MAX_FD, "too many descriptors");
    if (!b->watches[fd]) {
        b->watches[fd] = calloc(1, sizeof(struct event));
        must(b->watches[fd], "out of memory");
    } else {
        event_del(b->watches[fd]);
    }
    if (what == CURL_POLL_REMOVE)
        return 0;
    events |= what & CURL_POLL_IN ? EV_READ : 0;
    events |= what & CURL_POLL_OUT ? EV_WRITE : 0;
    event_assign(b->watches[fd], b->base, fd, events, on_socket, b);
    event_add(b->watches[fd], NULL);
    return 0;
}

static void bench_run(struct bench *b, char **urls, int n_urls)
{
    struct slot *slots = calloc((size_t)b->concurrency, sizeof(*slots));
    struct curl_slist *headers = curl_slist_append(NULL, "User-Agent: bench-bare");

    must(slots && headers, "out of memory");
    for (long i = 0; i < b->concurrency && i < b->requests; i++) {
        slots[i] = (struct slot){ .bench = b, .url = urls[i % n_urls], .request_headers = headers };
        slots[i].headers = malloc(HEADERS_MAX);
        must(slots[i].headers, "out of memory");
        slot_start(&slots[i]);
    }
    event_base_dispatch(b->base);
    for (long i = 0; i < b->concurrency; i++) {
        curl_easy_cleanup(slots[i].easy);
        free(slots[i].headers);
    }
    curl_slist_free_all(headers);
    free(slots);
}

static void bench_open(struct bench *b)
{
    signal(SIGPIPE, SIG_IGN);
    must(!curl_global_init(CURL_GLOBAL_DEFAULT), "curl_global_init");
    b->base = event_base_new();
    b->multi = curl_multi_init();
    must(b->base && b->multi, "out of memory");
    event_assign(&b->timer, b->base, -1, 0, on_timer, b);
    curl_multi_setopt(b->multi, CURLMOPT_SOCKETFUNCTION, set_watch);
    curl_multi_setopt(b->multi, CURLMOPT_SOCKETDATA, b);
    curl_multi_setopt(b->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(b->multi, CURLMOPT_TIMERDATA, b);
    curl_multi_setopt(b->multi, CURLMOPT_MAXCONNECTS, 2 * b->concurrency);
}

static void bench_close(struct bench *b)
{
    curl_multi_cleanup(b->multi);
    for (int i = 0; i < MAX_FD; i++) {
        if (b->watches[i])
            event_del(b->watches[i]);
        free(b->watches[i]);
    }
    event_del(&b->timer);
    event_base_free(b->base);
    curl_global_cleanup();
}

static bool parse_arguments(struct bench *b, int argc, char **argv)
{
    static const struct option names[] = {
        { "options", no_argument, NULL, 'o' },
        { "requests", required_argument, NULL, 'n' },
        { "concurrency", required_argument, NULL, 'c' },
        { NULL, 0, NULL, 0 },
    };
    int c;

    while ((c = getopt_long(argc, argv, "on:c:", names, NULL)) != -1) {
        if (c == 'o')
            b->options = true;
        else if (c == 'n')
            b->requests = atol(optarg);
        else if (c == 'c')
            b->concurrency = atol(optarg);
        else
            return false;
    }
    return optind < argc && b->requests > 0 && b->concurrency > 0 && b->concurrency <= 1024;
}

int main(int argc, char **argv)
{
    static struct bench b = { .requests = 50000, .concurrency = 256 };
    double begun;

    if (!parse_arguments(&b, argc, argv))
        die("usage: bench-bare [--options] [--requests N] [--concurrency 1..1024] URL...");
    bench_open(&b);
    begun = now_s();
    bench_run(&b, argv + optind, argc - optind);
    printf("{\"requests\":%ld,\"failed\":%ld,\"bytes\":%lld,\"seconds\":%.6f}\n", b.finished,
            b.failed, b.bytes, now_s() - begun);
    bench_close(&b);
    return b.failed > 0;
}
