/* baedald: options → configuration → objects, bottom up → run → tear down. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/server.h"
#include "config/config.h"
#include "daemon/base/clock.h"
#include "daemon/base/failpoint.h"
#include "daemon/base/log.h"
#include "daemon/base/loop.h"
#include "daemon/base/notify.h"
#include "daemon/co/co.h"
#include "daemon/engine/service.h"
#include "daemon/store/store.h"
#include "daemon/transfer/egress.h"
#include "daemon/transfer/transfer.h"
#include "daemon/transfer/worker.h"

#define NS_PER_S (CLOCK_US_PER_S * CLOCK_NS_PER_US)

/* Exit codes: LSB, as systemd knows them. */
#define EXIT_USAGE          2
#define EXIT_NOT_CONFIGURED 6

#define DESCRIPTORS_RESERVED 256 /* beside connections and transfers: store, bodies, DNS, threads */
#define WORKER_DESCRIPTORS   4   /* beside its exchange: wake-ups, pipes, kept connections */
#define IDLE_CONNECTIONS_MIN 16
#define IDLE_CONNECTIONS_MAX 65536 /* more than all threads keep */
#define TASKS_RESERVED       1024  /* beside activations and requests: deadlines, cancels */
#define TO_THREAD_MAX        8
#define API_STOP_NS          (2 * NS_PER_S) /* for the last answers, after the drain */
#define STOP_MARGIN_NS       (8 * NS_PER_S) /* for the last commits, and for threads to end */
#define STOP_TELL_NS         (2 * NS_PER_S) /* the service manager is told again */

struct arguments {
    const char *config_path;
    const char *store; /* the directory to check; NULL: the configured one */
    bool config_given, check, dump, check_store;
};

/* What the file descriptors allow of what is configured. */
struct limits {
    unsigned max_active, max_connections, idle_connections;
};

struct daemon {
    struct config config; /* as it is in the file */
    struct limits limits;
    const char *config_path; /* NULL: the default one, which need not exist */
    struct loop *loop;
    struct loop_signal signals;
    struct egress *egress;
    struct store *store;
    struct transfer *transfer;
    struct service *service;
    struct api *api;
    struct co_condition signalled;
    bool stop_asked, hurry_asked, reload_asked;
    int64_t stop_by_ns; /* when it ends, whatever is left; 0: it does not stop */
};

static void print_help(void)
{
    printf("Usage: baedald [-c FILE]\n"
           "Does other programs' outbound HTTP, durably; control it by its REST API.\n\n"
           "  -c, --config FILE   configuration (default " CONFIG_DEFAULT_PATH ",\n"
           "                      drop-ins in FILE.d/*.conf)\n"
           "      --check-config  check the configuration, name every mistake, and exit\n"
           "      --dump-config   print every value in force and where it comes from, and exit\n"
           "      --check-store [DIR]\n"
           "                      check the store, or the one in DIR, such as a backup; nobody\n"
           "                      may have it open\n"
           "      --version       print the version and exit\n"
           "  -h, --help          print this and exit\n\n"
           "SIGTERM and SIGINT stop it in good order, a second one at once; SIGHUP re-reads the\n"
           "configuration. See baedald(8) and baedald.conf(5).\n");
}

static void print_version(void)
{
    const char *names = failpoint_names();

    printf("baedald " BAEDAL_VERSION "\n");
    if (names)
        printf("failpoints: %s\n", names);
}

/* 0: go on; else exit with *ret_status. */
static int parse_arguments(int argc, char **argv, struct arguments *ret, int *ret_status)
{
    enum { OPTION_CHECK = 256, OPTION_CHECK_STORE, OPTION_DUMP, OPTION_VERSION };
    static const struct option options[] = {
        { "config", required_argument, NULL, 'c' },
        { "check-config", no_argument, NULL, OPTION_CHECK },
        { "check-store", no_argument, NULL, OPTION_CHECK_STORE },
        { "dump-config", no_argument, NULL, OPTION_DUMP },
        { "version", no_argument, NULL, OPTION_VERSION },
        { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    int option;

    *ret = (struct arguments){ .config_path = CONFIG_DEFAULT_PATH };
    *ret_status = 0;
    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) >= 0)
        switch (option) {
        case 'c':
            ret->config_path = optarg;
            ret->config_given = true;
            break;
        case OPTION_CHECK:
            ret->check = true;
            break;
        case OPTION_CHECK_STORE:
            ret->check_store = true;
            break;
        case OPTION_DUMP:
            ret->dump = true;
            break;
        case OPTION_VERSION:
            print_version();
            return 1;
        case 'h':
            print_help();
            return 1;
        default:
            *ret_status = EXIT_USAGE;
            return 1;
        }
    if (ret->check_store && optind < argc)
        ret->store = argv[optind++];
    if (optind < argc) {
        fprintf(stderr, "baedald: unexpected argument: %s (see baedald --help)\n", argv[optind]);
        *ret_status = EXIT_USAGE;
        return 1;
    }
    return 0;
}

/* If not, its reader has stopped reading, and a write might wait for ever. */
static bool stderr_takes_a_line(void)
{
    return poll(&(struct pollfd){ .fd = STDERR_FILENO, .events = POLLOUT }, 1, 0) > 0;
}

/*
 * On the store's thread, which alone can tell others that something is committed, and before it
 * tells of this commit: so nothing is acknowledged after it. The next start takes up what is on disk.
 */
static void store_failed(void *arg)
{
    (void)arg;
    if (stderr_takes_a_line())
        log_error("the store failed to commit: ending at once, nothing more is acknowledged");
    _exit(EXIT_FAILURE);
}

/*
 * SIGALRM: whatever the main thread does or waits for, be it a thread, a client or a disk. What is
 * committed stays, the rest is due again at the next start, as after any stop.
 */
static void stop_overdue(int number)
{
    static const char line[] = "baedald: the stop took too long: ending at once\n";

    (void)number;
    if (stderr_takes_a_line())
        (void)!write(STDERR_FILENO, line, sizeof(line) - 1);
    _exit(EXIT_SUCCESS);
}

/* The soft limit goes up to the hard one. All that is allowed, 0: no end of it. */
static unsigned raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 0;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur < UINT_MAX ? (unsigned)limit.rlim_cur : 0;
}

/* Jobs at a time follow from what there is, and kept connections from what is left then. */
static struct limits fit_to_descriptors(const struct config *c)
{
    struct limits l = { c->service.max_active, c->api.max_connections, IDLE_CONNECTIONS_MAX };
    unsigned workers = c->transfer.executor_threads + c->transfer.executor_processes;
    unsigned taken = l.max_connections + DESCRIPTORS_RESERVED + WORKER_DESCRIPTORS * workers +
                     IDLE_CONNECTIONS_MIN;
    unsigned all = raise_descriptors();

    if (all == 0)
        return l;
    if (all <= taken) { /* connections have to give way too */
        l.max_connections = all / 4;
        taken = all / 2;
    }
    if (all - taken < l.max_active)
        l.max_active = all - taken;
    l.idle_connections = all - taken - l.max_active + IDLE_CONNECTIONS_MIN;
    if (l.max_active < c->service.max_active || l.max_connections < c->api.max_connections)
        log_warning("%u file descriptors are allowed: %u jobs at a time instead of %u, "
                    "%u API connections instead of %u",
                all, l.max_active, c->service.max_active, l.max_connections,
                c->api.max_connections);
    return l;
}

/* No more than can have a guard below their stack: an overflow must be a fault, not a neighbour's data. */
static void fit_to_stacks(struct limits *l)
{
    unsigned all = co_guarded_max(), taken = l->max_connections + TASKS_RESERVED;
    unsigned left = all > taken ? all - taken : 1;

    if (left >= l->max_active)
        return;
    log_warning("%u coroutines can have guarded stacks: %u jobs at a time instead of %u; raise "
                "vm.max_map_count, or use Linux 6.13",
            all, left, l->max_active);
    l->max_active = left;
}

static void daemon_signal(struct loop_signal *s, int number)
{
    struct daemon *d = CONTAINER_OF(s, struct daemon, signals);

    if (number == SIGHUP)
        d->reload_asked = true;
    else if (d->stop_asked)
        d->hurry_asked = true;
    else
        d->stop_asked = true;
    co_condition_notify_all(&d->signalled);
}

static bool more_space(void *store)
{
    return store_more_space(store);
}

static int daemon_build(struct daemon *d, struct error *why)
{
    static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
    const struct config *c = &d->config;
    struct api_options api = c->api;
    struct transfer_options transfer = c->transfer;
    struct service_options service = c->service;
    int rc;

    signal(SIGPIPE, SIG_IGN);
    api.max_connections = d->limits.max_connections;
    service.max_active = d->limits.max_active;
    transfer.idle_connections = d->limits.idle_connections;
    rc = loop_new(&d->loop);
    if (rc == 0)
        rc = loop_signal_init(
                &d->signals, d->loop, signals, (int)ARRAY_LEN(signals), daemon_signal);
    if (rc < 0)
        return error_set(why, rc, "no event loop: %s", strerror(-rc));
    rc = egress_new(&c->egress, &d->egress, why);
    if (rc == 0)
        rc = api_new(d->loop, &api, &d->api, why);
    if (rc == 0)
        rc = store_open(&c->store, store_failed, d, &d->store, why);
    if (rc < 0)
        return rc;
    transfer.body_directory_fd = store_bodies_fd(d->store);
    transfer.more_space = more_space;
    transfer.more_space_arg = d->store;
    rc = transfer_new(d->loop, &transfer, d->egress, &d->transfer, why);
    if (rc == 0)
        rc = service_new(d->loop, &service, d->transfer, d->store, d->egress, &d->service, why);
    return rc;
}

static void daemon_tear_down(struct daemon *d)
{
    api_free(d->api);
    service_free(d->service);
    transfer_free(d->transfer);
    store_close(d->store);
    egress_unref(d->egress);
    loop_signal_done(&d->signals);
    loop_free(d->loop);
    config_done(&d->config);
}

static void report_restart(const char *key, void *arg)
{
    (void)arg;
    log_warning("%s has changed: it takes effect at the next start", key);
}

/* On the loop's own stack: it reads files. */
static void daemon_reload(void *arg)
{
    struct daemon *d = arg;
    struct config fresh;
    struct egress *egress = NULL;
    struct error why = { "out of memory" };
    int rc;

    notify_reloading();
    rc = config_load(d->config_path, stderr, &fresh);
    if (rc != 0) {
        log_error("the configuration has mistakes: the old values stay in force");
        notify_ready("Running with the old configuration: the new one has mistakes");
        return;
    }
    rc = egress_new(&fresh.egress, &egress, &why);
    if (rc == 0)
        rc = service_reload(d->service, &fresh.service, egress);
    if (rc < 0) {
        log_error("reload failed, the old values stay in force: %s", why.text);
        config_done(&fresh);
    } else {
        log_setup(&fresh.log);
        config_needs_restart(&d->config, &fresh, report_restart, NULL);
        egress_unref(d->egress);
        d->egress = egress_ref(egress);
        /* What still waits for a restart stays as it was in the values that run. */
        config_done(&d->config);
        d->config = fresh;
        log_info("configuration re-read");
    }
    egress_unref(egress);
    notify_ready("Running");
}

CO_SUSPENDS static int watchdog_main(void *arg)
{
    int64_t interval_ns = notify_watchdog_interval_us() * CLOCK_NS_PER_US;
    int rc = 0;

    (void)arg;
    while (rc == 0 && interval_ns > 0) {
        notify_watchdog();
        rc = co_sleep(interval_ns);
    }
    return rc;
}

/* It ends with what is left to do after `drain_ns` from now, at the latest, unless that was to be sooner. */
static void daemon_stop_in(struct daemon *d, int64_t drain_ns)
{
    int64_t in_ns = drain_ns + API_STOP_NS + STOP_MARGIN_NS, by_ns = clock_mono_ns() + in_ns;

    if (d->stop_by_ns != 0 && d->stop_by_ns <= by_ns)
        return;
    d->stop_by_ns = by_ns;
    alarm((unsigned)(in_ns / NS_PER_S) + 1);
}

static int64_t daemon_stops_in_us(const struct daemon *d)
{
    int64_t left_ns = d->stop_by_ns - clock_mono_ns();

    return (left_ns > 0 ? left_ns : 0) / CLOCK_NS_PER_US;
}

/* While it stops: tells the service manager how it goes, and hears a second signal. */
CO_SUSPENDS static int stop_main(void *arg)
{
    struct daemon *d = arg;
    char status[64];
    int rc = 0;

    while (rc == 0) {
        struct co_scope pause;

        if (d->hurry_asked) {
            d->hurry_asked = false;
            log_info("stopping at once");
            daemon_stop_in(d, 0);
            service_hurry(d->service);
        }
        snprintf(status, sizeof(status), "Draining: %u requests in flight",
                service_busy(d->service));
        notify_extend(status, daemon_stops_in_us(d));
        co_scope_open(&pause, co_deadline(STOP_TELL_NS), 0);
        rc = co_scope_close(&pause, co_condition_wait(&d->signalled));
        if (rc == -ETIMEDOUT)
            rc = 0;
    }
    return rc;
}

CO_SUSPENDS static void daemon_stop(struct daemon *d, struct co_group *group)
{
    int64_t drain_ns = d->config.drain_timeout_us * CLOCK_NS_PER_US;
    int rc;

    signal(SIGALRM, stop_overdue);
    daemon_stop_in(d, drain_ns);
    log_info("stopping: jobs in flight have %lld s to end", (long long)(drain_ns / NS_PER_S));
    notify_stopping("Draining", daemon_stops_in_us(d));
    rc = co_group_spawn(group, "stop", stop_main, d, NULL);
    if (rc < 0)
        log_warning("can't watch the stop: %s", strerror(-rc));
    service_stop(d->service, clock_mono_ns() + drain_ns);
    daemon_stop_in(d, 0);
    api_stop(d->api, clock_mono_ns() + API_STOP_NS);
}

CO_SUSPENDS static int daemon_serve(struct daemon *d)
{
    int rc = 0;

    while (rc == 0 && !d->stop_asked) {
        if (!d->reload_asked) {
            rc = co_condition_wait(&d->signalled);
            continue;
        }
        d->reload_asked = false;
        co_on_loop(daemon_reload, d);
    }
    return rc;
}

CO_SUSPENDS static int daemon_main(void *arg)
{
    struct daemon *d = arg;
    struct co_group group;
    int rc;

    co_group_open(&group);
    rc = service_start(d->service);
    if (rc < 0)
        log_error("can't take up the jobs in the store: %s", strerror(-rc));
    if (rc == 0) {
        rc = api_start(d->api, d->service);
        if (rc < 0)
            log_error("can't start the API: %s", strerror(-rc));
    }
    if (rc == 0)
        rc = co_group_spawn(&group, "watchdog", watchdog_main, NULL, NULL);
    if (rc == 0) {
        log_info("baedald " BAEDAL_VERSION " is ready");
        notify_ready("Running");
        rc = daemon_serve(d);
        daemon_stop(d, &group);
    } else {
        service_stop(d->service, 0);
        api_stop(d->api, 0);
    }
    co_group_cancel(&group);
    co_group_close(&group, 0);
    return rc;
}

static int daemon_run(struct daemon *d)
{
    struct co_options options = { .max_threads = TO_THREAD_MAX };
    struct error why = { "" };
    int rc;

    d->limits = fit_to_descriptors(&d->config);
    fit_to_stacks(&d->limits);
    options.max_tasks = d->limits.max_active + d->limits.max_connections + TASKS_RESERVED;
    rc = daemon_build(d, &why);
    if (rc < 0) {
        log_error("%s", why.text);
        daemon_tear_down(d);
        return EXIT_FAILURE;
    }
    rc = co_run(d->loop, &options, daemon_main, d);
    daemon_tear_down(d);
    if (rc == 0)
        log_info("stopped");
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int check_store(const char *directory)
{
    struct error why = { "the store is damaged" };
    int rc = store_check(directory, stdout, &why);

    if (rc == 0)
        printf("%s: the store is sound\n", directory);
    else
        fprintf(stderr, "baedald: %s\n", why.text);
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct daemon d = { 0 };
    struct arguments arguments;
    int status, mistakes;

    if (argc == 2 && strcmp(argv[1], "--worker") == 0) /* how the daemon starts a worker process */
        worker_main(WORKER_FD);
    if (parse_arguments(argc, argv, &arguments, &status) != 0)
        return status;
    if (arguments.store)
        return check_store(arguments.store);
    d.config_path = arguments.config_given ? arguments.config_path : NULL;
    mistakes = config_load(d.config_path, stderr, &d.config);
    if (mistakes != 0)
        return EXIT_NOT_CONFIGURED;
    if (arguments.dump)
        config_dump(&d.config, stdout);
    if (arguments.check_store)
        status = check_store(d.config.store.directory);
    if (arguments.check || arguments.dump || arguments.check_store) {
        if (arguments.check && !arguments.dump)
            printf("%s: the configuration is valid\n", arguments.config_path);
        config_done(&d.config);
        return status;
    }
    log_setup(&d.config.log);
    co_condition_init(&d.signalled);
    return daemon_run(&d);
}
