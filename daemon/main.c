/* baedald: options → configuration → objects, bottom up → run → tear down. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/server.h"
#include "config/config.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/loop.h"
#include "daemon/base/notify.h"
#include "daemon/co/co.h"
#include "daemon/engine/service.h"
#include "daemon/store/store.h"
#include "daemon/transfer/egress.h"
#include "daemon/transfer/transfer.h"
#include "daemon/transfer/worker.h"

/* Exit codes: LSB, as systemd knows them. */
#define EXIT_USAGE          2
#define EXIT_NOT_CONFIGURED 6

#define DESCRIPTORS_RESERVED 256 /* beside connections and transfers: store, bodies, DNS, threads */
#define WORKER_DESCRIPTORS   4   /* beside its exchange: wake-ups, pipes, kept connections */
#define IDLE_CONNECTIONS_MIN 16
#define IDLE_CONNECTIONS_MAX 65536 /* more than all threads keep */
#define TASKS_RESERVED       1024  /* beside activations and requests: deadlines, cancels */
#define TO_THREAD_MAX        8
#define API_STOP_NS          (2 * 1000000000LL) /* for the last answers, after the drain */

struct arguments {
    const char *config_path;
    bool config_given, check, dump;
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
    bool stop_asked, reload_asked;
};

static void print_help(void)
{
    printf("Usage: baedald [-c FILE]\n"
           "Does other programs' outbound HTTP, durably; control it by its REST API.\n\n"
           "  -c, --config FILE   configuration (default " CONFIG_DEFAULT_PATH ",\n"
           "                      drop-ins in FILE.d/*.conf)\n"
           "      --check-config  check the configuration, name every mistake, and exit\n"
           "      --dump-config   print every value in force and where it comes from, and exit\n"
           "      --version       print the version and exit\n"
           "  -h, --help          print this and exit\n\n"
           "SIGTERM and SIGINT stop it in good order, SIGHUP re-reads the configuration.\n"
           "See baedald(8) and baedald.conf(5).\n");
}

/* 0: go on; else exit with *ret_status. */
static int parse_arguments(int argc, char **argv, struct arguments *ret, int *ret_status)
{
    enum { OPTION_CHECK = 256, OPTION_DUMP, OPTION_VERSION };
    static const struct option options[] = {
        { "config", required_argument, NULL, 'c' },
        { "check-config", no_argument, NULL, OPTION_CHECK },
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
        case OPTION_DUMP:
            ret->dump = true;
            break;
        case OPTION_VERSION:
            printf("baedald " BAEDAL_VERSION "\n");
            return 1;
        case 'h':
            print_help();
            return 1;
        default:
            *ret_status = EXIT_USAGE;
            return 1;
        }
    if (optind < argc) {
        fprintf(stderr, "baedald: unexpected argument: %s (see baedald --help)\n", argv[optind]);
        *ret_status = EXIT_USAGE;
        return 1;
    }
    return 0;
}

/* Nothing may be acknowledged after this; the next start takes up what is on disk. */
static void store_failed(void *arg)
{
    (void)arg;
    log_error("the store failed to commit: ending at once, nothing more is acknowledged");
    _exit(EXIT_FAILURE);
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
    else
        d->stop_asked = true;
    co_condition_notify_all(&d->signalled);
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

CO_SUSPENDS static int daemon_serve(struct daemon *d)
{
    int64_t drain_ns;
    int rc = 0;

    while (rc == 0 && !d->stop_asked) {
        if (!d->reload_asked) {
            rc = co_condition_wait(&d->signalled);
            continue;
        }
        d->reload_asked = false;
        co_on_loop(daemon_reload, d);
    }

    drain_ns = d->config.drain_timeout_us * CLOCK_NS_PER_US;
    log_info("stopping: jobs in flight have %lld s to end",
            (long long)(d->config.drain_timeout_us / CLOCK_US_PER_S));
    notify_stopping("Draining");
    service_stop(d->service, clock_mono_ns() + drain_ns);
    api_stop(d->api, clock_mono_ns() + API_STOP_NS);
    return 0;
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

int main(int argc, char **argv)
{
    struct daemon d = { 0 };
    struct arguments arguments;
    int status, mistakes;

    if (argc == 2 && strcmp(argv[1], "--worker") == 0) /* how the daemon starts a worker process */
        worker_main(WORKER_FD);
    if (parse_arguments(argc, argv, &arguments, &status) != 0)
        return status;
    d.config_path = arguments.config_given ? arguments.config_path : NULL;
    mistakes = config_load(d.config_path, stderr, &d.config);
    if (mistakes != 0)
        return EXIT_NOT_CONFIGURED;
    if (arguments.dump)
        config_dump(&d.config, stdout);
    if (arguments.check || arguments.dump) {
        if (!arguments.dump)
            printf("%s: the configuration is valid\n", arguments.config_path);
        config_done(&d.config);
        return EXIT_SUCCESS;
    }
    log_setup(&d.config.log);
    co_condition_init(&d.signalled);
    return daemon_run(&d);
}
