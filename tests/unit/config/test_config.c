/* What a configuration means: defaults, values, merging, dump. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/keys.h"
#include "tests/unit/config/place.h"

#define MiB (1LL << 20)
#define S   1000000LL

/* The table itself: every default is a value that the key takes, every value one that its field holds. */
static void test_table(void **state)
{
    struct error why;
    int64_t number;

    (void)state;
    for (size_t i = 0; i < keys_n; i++) {
        const struct key *k = &keys[i];

        assert_ptr_equal(key_find(k->group, k->name), k);
        if (k->type == KEY_COUNT)
            assert_true(k->size == sizeof(unsigned) && k->max <= UINT_MAX && k->min >= 0);
        if (k->type == KEY_BYTES || k->type == KEY_DURATION)
            assert_int_equal(k->size, sizeof(int64_t));
        if (k->type == KEY_TEXT || k->type == KEY_TEXTS) {
            if (k->fallback && k->check)
                assert_int_equal(k->check(k->fallback, &why), 0);
            continue;
        }
        assert_int_equal(key_parse(k, k->fallback, &number, &why), 0);
        assert_true(k->type != KEY_CHOICE || k->choices);
    }
}

static void test_defaults(void **state)
{
    struct config c;

    place_write(*state, "");
    place_load_good(*state, &c);
    assert_string_equal(c.api.listen[0], "127.0.0.1:8470");
    assert_null(c.api.listen[1]);
    assert_int_equal(c.api.max_wait_us, 300 * S);
    assert_int_equal(c.api.max_body_bytes, 8 * MiB);
    assert_int_equal(c.api.max_bulk_bytes, 64 * MiB);
    assert_int_equal(c.api.max_lines, 100000);
    assert_int_equal(c.api.max_connections, 10000);
    assert_int_equal(c.api.max_connections_per_client, 10000);
    assert_int_equal(c.api.max_waiters, 9000);
    assert_int_equal(c.api.request_memory_bytes, 256LL << 20);
    assert_int_equal(c.api.answer_memory_bytes, 256LL << 20);
    assert_int_equal(c.api.header_timeout_us, 5 * S);
    assert_int_equal(c.api.body_timeout_us, 30 * S);
    assert_int_equal(c.api.write_timeout_us, 60 * S);
    assert_string_equal(c.store.directory, "/var/lib/baedald");
    assert_false(c.store.relaxed);
    assert_int_equal(c.store.min_free_bytes, 64 * MiB);
    assert_int_equal(c.store.ballast_bytes, 16 * MiB);
    assert_int_equal(c.service.max_jobs, 10000000);
    assert_int_equal(c.service.max_batches, 100000);
    assert_int_equal(c.service.window, 100000);
    assert_int_equal(c.service.window_bytes, 64 * MiB);
    assert_int_equal(c.service.max_lanes, 10000);
    assert_int_equal(c.service.retention.age_us, 7 * 86400 * S);
    assert_int_equal(c.service.retention.count, 1000000);
    assert_int_equal(c.service.retention.bytes, 10240 * MiB);
    assert_int_equal(c.service.retention.idempotency_us, 86400 * S);
    assert_int_equal(c.service.max_active, 1000);
    assert_int_equal(c.service.lane_concurrency, 32);
    assert_int_equal(c.service.n_lanes, 0);
    assert_int_equal(c.service.max_body_bytes, 10 * MiB);
    assert_int_equal(c.service.defaults.max_body_bytes, 10 * MiB);
    assert_int_equal(c.service.defaults.timeout_us, 30 * S);
    assert_int_equal(c.service.defaults.fetch_attempts, 1);
    assert_int_equal(c.service.defaults.delivery_attempts, 3);
    assert_int_equal(c.service.defaults.fetch_redirects, 5);
    assert_int_equal(c.service.defaults.delivery_redirects, 0);
    assert_int_equal(c.service.defaults.backoff_us, 1 * S);
    assert_int_equal(c.service.defaults.max_backoff_us, 300 * S);
    assert_int_equal(c.drain_timeout_us, 25 * S);
    assert_int_equal(c.transfer.executor_threads, 8);
    assert_int_equal(c.transfer.executor_processes, 4);
    assert_int_equal(c.transfer.threads, 0);
    assert_int_equal(c.transfer.body_memory_bytes, 64 * MiB);
    assert_int_equal(c.transfer.connect_timeout_us, 5 * S);
    assert_null(c.egress.allow[0]);
    assert_null(c.egress.deny[0]);
    assert_int_equal(c.log.level, LOG_LEVEL_INFO);
    config_done(&c);
}

static void test_values(void **state)
{
    struct config c;

    place_write(*state,
            "api = { listen = [\"[::1]:1\", \"unix:/a\"]; max_wait = 2.5, max_body = 2048 }\n"
            "store: { directory = \"/x\" durability = \"relaxed\" min_free = \"1GiB\"\n"
            "  ballast = 0 max_batches = 1 }\n"
            "retention = { age = \"3650d\" count = 1000000000 bytes = \"1024TiB\" }\n"
            "/* comment { = */ transfer = { max_body = 4294967297 # no L\n"
            "  timeout = 1 connect_timeout = \"250ms\" body_memory = 0x4000000 }\n"
            "egress = { allow = (\"10.0.0.0/8\", \"::1\") }\n"
            "scheduler = { executor_threads = 1024 executor_processes = 1\n"
            "  window = 7 window_memory = \"1MiB\" max_lanes = 9 }\n"
            "log = { level = \"debug\" } // end\n");
    place_load_good(*state, &c);
    assert_string_equal(c.api.listen[0], "[::1]:1");
    assert_string_equal(c.api.listen[1], "unix:/a");
    assert_null(c.api.listen[2]);
    assert_int_equal(c.api.max_wait_us, 2500000);
    assert_int_equal(c.api.max_body_bytes, 2048);
    assert_string_equal(c.store.directory, "/x");
    assert_true(c.store.relaxed);
    assert_int_equal(c.store.min_free_bytes, 1024 * MiB);
    assert_int_equal(c.store.ballast_bytes, 0);
    assert_int_equal(c.service.max_batches, 1);
    assert_int_equal(c.service.retention.age_us, 3650LL * 86400 * S);
    assert_int_equal(c.service.retention.count, 1000000000);
    assert_int_equal(c.service.retention.bytes, 1LL << 50);
    assert_int_equal(c.service.window, 7);
    assert_int_equal(c.service.window_bytes, MiB);
    assert_int_equal(c.service.max_lanes, 9);
    assert_int_equal(c.service.max_body_bytes, 4294967297LL);
    assert_int_equal(c.service.defaults.timeout_us, 1 * S);
    assert_int_equal(c.transfer.connect_timeout_us, 250000);
    assert_int_equal(c.transfer.body_memory_bytes, 64 * MiB);
    assert_string_equal(c.egress.allow[1], "::1");
    assert_int_equal(c.transfer.executor_threads, 1024);
    assert_int_equal(c.transfer.executor_processes, 1);
    assert_int_equal(c.log.level, LOG_LEVEL_DEBUG);
    config_done(&c);
}

static void test_state_directory(void **state)
{
    struct config c;
    char *text;

    setenv("STATE_DIRECTORY", "/var/lib/private/b:/other", 1);
    place_write(*state, "");
    place_load_good(*state, &c);
    assert_string_equal(c.store.directory, "/var/lib/private/b");
    text = place_dump(*state, &c);
    assert_non_null(strstr(text, "# $STATE_DIRECTORY\n"));
    free(text);
    config_done(&c);
    place_write(*state, "store = { directory = \"/mine\" }");
    place_load_good(*state, &c);
    assert_string_equal(c.store.directory, "/mine");
    config_done(&c);
    unsetenv("STATE_DIRECTORY");
}

/* Later files win key by key, lanes by origin, lists as a whole. */
static void test_merge(void **state)
{
    struct place *p = *state;
    struct config c;
    char *text;

    place_write(p, "api = { max_lines = 1 max_connections = 1 }\n"
                   "egress = { allow = [\"10.0.0.0/8\", \"::1\"] deny = [\"10.1.0.0/16\"] }\n"
                   "lanes = ( { origin = \"https://a\" concurrency = 1 },\n"
                   "          { origin = \"https://b\" concurrency = 2 } )\n");
    place_write_drop_in(p, "20-b.conf",
            "api = { max_lines = 3 }\n"
            "lanes = ( { origin = \"default\" concurrency = 9 } )");
    place_write_drop_in(p, "10-a.conf",
            "api = { max_lines = 2 header_timeout = 2 }\n\n"
            "lanes = ( { origin = \"https://b:443\" concurrency = 7 },\n"
            "          { origin = \"http://c\" concurrency = 8 } )\n"
            "egress = { allow = [] }");
    place_write_drop_in(p, "30-c.conf.bak", "nonsense");
    place_write_drop_in(p, ".hidden.conf", "nonsense");
    place_load_good(p, &c);
    assert_int_equal(c.api.max_lines, 3);
    assert_int_equal(c.api.max_connections, 1);
    assert_int_equal(c.api.header_timeout_us, 2 * S);
    assert_null(c.egress.allow[0]);
    assert_string_equal(c.egress.deny[0], "10.1.0.0/16");
    assert_int_equal(c.service.lane_concurrency, 9);
    assert_int_equal(c.service.n_lanes, 3);
    assert_string_equal(c.service.lanes[0].origin, "https://a:443");
    assert_int_equal(c.service.lanes[0].concurrency, 1);
    assert_string_equal(c.service.lanes[1].origin, "https://b:443");
    assert_int_equal(c.service.lanes[1].concurrency, 7);
    assert_string_equal(c.service.lanes[2].origin, "http://c:80");
    text = place_dump(p, &c);
    assert_non_null(strstr(
            text, "max_lines = 3                                # baedald.conf.d/20-b.conf:1\n"));
    assert_non_null(
            strstr(text, "max_connections = 1                          # baedald.conf:1\n"));
    assert_non_null(strstr(text,
            "{ origin = \"https://b:443\"  concurrency = 7 }, # baedald.conf.d/10-a.conf:3\n"));
    assert_non_null(strstr(text, "max_wait = \"5min\"                            # default\n"));
    free(text);
    config_done(&c);
}

/* A dump is a configuration that means the same. */
static void test_round_trip(void **state)
{
    struct place *p = *state;
    struct config c, again;
    char *first, *second, *comment;

    place_write(p,
            "api = { listen = [\"unix:/tmp/a \\\"b\\\\c\"] max_wait = 1.000001 max_lines = 7 }\n"
            "store = { durability = \"relaxed\" min_free = 4294967297 }\n"
            "lanes = ( { origin = \"http://a\" concurrency = 3 } )\n"
            "egress = { allow = [\"::1\", \"10.0.0.0/8\"] } log = { level = \"warning\" }\n");
    place_load_good(p, &c);
    first = place_dump(p, &c);
    place_write(p, first);
    place_load_good(p, &again);
    second = place_dump(p, &again);
    for (char *text = first; (comment = strstr(text, " # ")); text = comment)
        memmove(comment, strchr(comment, '\n'), strlen(strchr(comment, '\n')) + 1);
    for (char *text = second; (comment = strstr(text, " # ")); text = comment)
        memmove(comment, strchr(comment, '\n'), strlen(strchr(comment, '\n')) + 1);
    assert_string_equal(first, second);
    assert_int_equal(again.api.max_wait_us, 1000001);
    assert_string_equal(again.api.listen[0], "unix:/tmp/a \"b\\c");
    free(first);
    free(second);
    config_done(&c);
    config_done(&again);
}

/* The shipped file loads as it is and, with its examples taken in, says the defaults. */
static void test_shipped_file(void **state)
{
    struct place *p = *state;
    struct config c;
    char *defaults, *shipped;

    place_write(p, "");
    place_load_good(p, &c);
    defaults = place_dump(p, &c);
    config_done(&c);
    snprintf(p->path, sizeof(p->path), "%s", BAEDALD_CONF);
    place_load_good(p, &c);
    shipped = place_dump(p, &c);
    assert_string_equal(shipped, defaults);
    free(shipped);
    free(defaults);
    config_done(&c);
}

/* The shipped file without its # in front of keys. */
static void test_shipped_examples(void **state)
{
    struct place *p = *state;
    FILE *in = fopen(BAEDALD_CONF, "r"), *out = fopen(p->path, "w");
    struct config c, defaults;
    char line[512];
    size_t n = 0;

    assert_non_null(in);
    while (fgets(line, sizeof(line), in)) {
        size_t indent = strspn(line, " ");

        if (line[indent] == '#' && (line[indent + 1] != ' ' || strncmp(line, "#    {", 6) == 0) &&
                line[indent + 1] != '\n')
            memmove(line + indent, line + indent + 1, strlen(line + indent));
        fputs(line, out);
    }
    fclose(in);
    fclose(out);
    place_load_good(p, &c);
    place_write(p, "");
    place_load_good(p, &defaults);
    for (size_t i = 0; i < keys_n; i++) {
        n += keys[i].type == KEY_TEXTS || keys[i].type == KEY_TEXT ||
             key_number(&keys[i], &c) == key_number(&keys[i], &defaults);
    }
    assert_int_equal(n, keys_n);
    assert_int_equal(c.service.n_lanes, 1);
    assert_int_equal(c.service.lane_concurrency, defaults.service.lane_concurrency);
    assert_int_equal(config_needs_restart(&defaults, &c, NULL, NULL), 0);
    {
        char *text = place_dump(p, &c);

        assert_null(strstr(strstr(text, "api = {"), "# default\n"));
        free(text);
    }
    config_done(&c);
    config_done(&defaults);
}

static void note_key(const char *key, void *arg)
{
    strcat(arg, key);
    strcat(arg, " ");
}

static void test_needs_restart(void **state)
{
    struct place *p = *state;
    struct config old, fresh;
    char report[512] = "";

    place_write(p, "");
    place_load_good(p, &old);
    place_write(p, "api = { listen = [\"127.0.0.1:8470\"] max_lines = 5 }\n"
                   "store = { directory = \"/else\" durability = \"relaxed\" ballast = 0 }\n"
                   "scheduler = { window = 5 executor_threads = 9 executor_processes = 5 }\n"
                   "retention = { age = 1 count = 1 bytes = \"1MiB\" idempotency = 1 }\n"
                   "retry = { backoff = \"2s\" } log = { level = \"debug\" }\n"
                   "egress = { allow = [\"::1\"] }\n"
                   "lanes = ( { origin = \"default\" concurrency = 4 } )\n");
    place_load_good(p, &fresh);
    assert_int_equal(config_needs_restart(&old, &fresh, note_key, report), 7);
    assert_string_equal(report,
            "api.max_lines store.directory store.durability "
            "store.ballast scheduler.window scheduler.executor_threads scheduler.executor_processes ");
    config_done(&fresh);
    place_write(p, "api = { listen = [\"127.0.0.1:8470\", \"[::1]:8470\"] }\n");
    place_load_good(p, &fresh);
    report[0] = 0;
    assert_int_equal(config_needs_restart(&old, &fresh, note_key, report), 1);
    assert_string_equal(report, "api.listen ");
    config_done(&fresh);
    config_done(&old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACE_TEST(test_table),
        PLACE_TEST(test_defaults),
        PLACE_TEST(test_values),
        PLACE_TEST(test_state_directory),
        PLACE_TEST(test_merge),
        PLACE_TEST(test_round_trip),
        PLACE_TEST(test_shipped_file),
        PLACE_TEST(test_shipped_examples),
        PLACE_TEST(test_needs_restart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
