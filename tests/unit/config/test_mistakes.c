/* Every mistake is named with its file and line, and no other. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/config/place.h"

static void test_unknown(void **state)
{
    place_expect_errors(*state,
            "api = {\n  max_wiat = \"5s\"\n  timeout = 3\n  zzzzz = 1 }\n"
            "stroe = { }\n"
            "max_jobs = 5\n"
            "tenants = { age = \"7d\" }\n"
            "lanes = ( { origin = \"https://a\" concurrency = 1 rate = \"10/s\" } )\n",
            7,
            "baedald.conf:2: unknown key api.max_wiat; did you mean api.max_wait?\n"
            "baedald.conf:3: unknown key api.timeout; did you mean transfer.timeout?\n"
            "baedald.conf:4: unknown key api.zzzzz\n"
            "baedald.conf:5: unknown group stroe; did you mean store?\n"
            "baedald.conf:6: max_jobs stands in no group; did you mean store = { max_jobs = … }?\n"
            "baedald.conf:7: unknown group tenants\n"
            "baedald.conf:8: lanes: unknown key rate; a lane has origin and concurrency\n");
}

static void test_bad_values(void **state)
{
    place_expect_errors(*state,
            "api = {\n"
            "  listen = \"127.0.0.1:1\"\n"
            "  max_wait = \"10 parsecs\"\n"
            "  max_body = \"8MB\"\n"
            "  max_bulk = 5\n"
            "  max_lines = 0\n"
            "  max_connections = \"many\"\n"
            "  header_timeout = -1.5\n"
            "}\n"
            "store = { directory = \"relative\"\n"
            "  durability = \"medium\"\n"
            "  max_jobs = 2.5\n"
            "  min_free = true }\n"
            "transfer = { threads = 65\n"
            "  timeout = \"99999999999999999999d\"\n"
            "  connect_timeout = 1e30 }\n"
            "log = 3\n"
            "scheduler = { executor_threads = 0\n"
            "  executor_processes = 257 }\n",
            17,
            "baedald.conf:2: api.listen: wants a list: [\"…\", \"…\"]\n"
            "baedald.conf:3: api.max_wait: \"10 parsecs\" is no duration (write \"250ms\", \"10s\", "
            "\"5min\", \"2h\", \"7d\" or a number of seconds)\n"
            "baedald.conf:4: api.max_body: \"8MB\" is no size (write \"64KiB\", \"8MiB\", \"1GiB\" or a "
            "number of bytes)\n"
            "baedald.conf:5: api.max_bulk: 5B is out of range, 1KiB to 1GiB\n"
            "baedald.conf:6: api.max_lines: 0 is out of range, 1 to 1000000\n"
            "baedald.conf:7: api.max_connections: wants a whole number\n"
            "baedald.conf:8: api.header_timeout: a duration is not negative\n"
            "baedald.conf:10: store.directory: \"relative\" is no absolute path\n"
            "baedald.conf:11: store.durability: \"medium\" is not one of \"full\" or \"relaxed\"\n"
            "baedald.conf:12: store.max_jobs: wants a whole number\n"
            "baedald.conf:13: store.min_free: wants a size: \"8MiB\" or a number of bytes\n"
            "baedald.conf:14: transfer.threads: 65 is out of range, 0 to 64\n"
            "baedald.conf:15: transfer.timeout: \"99999999999999999999d\" is too much\n"
            "baedald.conf:16: transfer.connect_timeout: 3601s is out of range, 1ms to 1h\n"
            "baedald.conf:17: log wants a group: log = { … }\n"
            "baedald.conf:18: scheduler.executor_threads: 0 is out of range, 1 to 1024\n"
            "baedald.conf:19: scheduler.executor_processes: 257 is out of range, 1 to 256\n");
}

static void test_bad_lists(void **state)
{
    place_expect_errors(*state,
            "api = { listen = [] }\n"
            "egress = { allow = [\"10.0.0.0/8\",\n"
            "   \"10.0.0.1/8\"]\n"
            "  deny = [1, 2] }\n",
            4,
            "baedald.conf:1: api.listen: wants at least one\n"
            "baedald.conf:3: egress.allow: \"10.0.0.1/8\" has bits set behind its /8\n"
            "baedald.conf:4: egress.deny: wants texts in quotes\n"
            "baedald.conf:4: egress.deny: wants texts in quotes\n");
}

static void test_bad_lanes(void **state)
{
    place_expect_errors(*state,
            "lanes = (\n"
            "  { origin = \"https://a\"  concurrency = 1 },\n"
            "  { origin = \"https://a:443\"  concurrency = 2 },\n"
            "  { origin = \"default\"  concurrency = 0 },\n"
            "  { origin = \"default\"  concurrency = 5 },\n"
            "  { concurrency = 5 },\n"
            "  { origin = \"http://b\" },\n"
            "  { origin = \"http://b/path\" concurrency = 1 },\n"
            "  { origin = 5 concurrency = \"x\" },\n"
            "  7,\n"
            "  { origin = \"http://c\" speed = 1 }\n"
            ")\n",
            10,
            "baedald.conf:3: lanes: \"https://a:443\" stands twice, first on line 2\n"
            "baedald.conf:4: lanes: concurrency 0 is out of range, 1 to 10000\n"
            "baedald.conf:5: lanes: \"default\" stands twice, first on line 4\n"
            "baedald.conf:6: lanes: an entry without origin\n"
            "baedald.conf:7: lanes: an entry without concurrency\n"
            "baedald.conf:8: lanes: \"http://b/path\": an origin is scheme://host:port, without user, "
            "path or query\n"
            "baedald.conf:9: lanes: origin wants a text in quotes\n"
            "baedald.conf:9: lanes: concurrency wants a whole number\n"
            "baedald.conf:10: lanes: wants { origin = \"…\"  concurrency = … }\n"
            "baedald.conf:11: lanes: unknown key speed; a lane has origin and concurrency\n");
    place_expect_errors(
            *state, "lanes = { }\n", 1, "baedald.conf:1: lanes: wants a list: ( { … }, { … } )\n");
}

/* libconfig stops at these; we go on, and what stands in a duplicate is checked too. */
static void test_duplicates(void **state)
{
    place_expect_errors(*state,
            "api = { max_lines = 1\n"
            "  max_lines = 2\n"
            "  # max_lines = 3\n"
            "}\n"
            "store = { max_jobs = 1 }\n"
            "api = { max_wiat = 1 }\n"
            "log = { level = \"loud\" }\n",
            4,
            "baedald.conf:2: max_lines is set twice, first on line 1\n"
            "baedald.conf:6: api is set twice, first on line 1\n"
            "baedald.conf:6: unknown key api.max_wiat; did you mean api.max_wait?\n"
            "baedald.conf:7: log.level: \"loud\" is not one of \"error\", \"warning\", \"info\" or "
            "\"debug\"\n");
}

static void test_quotes(void **state)
{
    place_expect_errors(*state,
            "api = { max_wait = 5min\n  listen = [127.0.0.1] }\n"
            "log = { level = loud }\n"
            "transfer = { max_body = 99999999999999999999 }\n",
            7,
            "baedald.conf:1: 5min has to be in quotes: \"5min\"\n"
            "baedald.conf:2: 127.0.0.1 has to be in quotes: \"127.0.0.1\"\n"
            "baedald.conf:3: loud has to be in quotes: \"loud\"\n"
            "baedald.conf:4: 99999999999999999999 is too large a number\n"
            "baedald.conf:2: api.listen: \"127.0.0.1\" is no address to listen on (write "
            "\"127.0.0.1:8470\", \"[::1]:8470\" or \"unix:/path\")\n"
            "baedald.conf:3: log.level: \"loud\" is not one of \"error\", \"warning\", \"info\" or "
            "\"debug\"\n"
            "baedald.conf:4: transfer.max_body: 0B is out of range, 1B to 1TiB\n");
}

/* What stands before a syntax error is checked, and so are the other files. */
static void test_syntax(void **state)
{
    struct place *p = *state;

    place_write_drop_in(p, "a.conf", "api = {\n  max_lines = 1\n");
    place_write_drop_in(p, "b.conf", "\n\nlog = { level = \"loud\" }\n");
    place_expect_errors(p, "api = { max_wiat = 1 }\nstore { }\nlog = { leevl = 1 }\n", 4,
            "baedald.conf:2: syntax error at or before: store { }\n"
            "baedald.conf:1: unknown key api.max_wiat; did you mean api.max_wait?\n"
            "baedald.conf.d/a.conf:3: syntax error before this line\n"
            "baedald.conf.d/b.conf:3: log.level: \"loud\" is not one of \"error\", \"warning\", "
            "\"info\" or \"debug\"\n");
}

static void test_hostile_texts(void **state)
{
    struct place *p = *state;
    struct config c;
    char *deep = malloc(200001);

    place_expect_errors(p, "@include \"x\"\n*api = 1\n", 3,
            "baedald.conf:1: @include: there are no directives; put more files into baedald.conf.d/\n"
            "baedald.conf:2: * is no part of a name\n"
            "baedald.conf:2: api wants a group: api = { … }\n");
    place_expect_errors(
            p, "a = \"never closed\n", 1, "baedald.conf:2: syntax error before this line\n");
    place_expect_errors(p, "/* never closed", 1, "baedald.conf:1: a comment that has no end\n");
    place_expect_errors(p, "}}}}{{{{", 1, "baedald.conf:1: syntax error at or before: }}}}{{{{\n");
    memset(deep, '{', 200000);
    deep[200000] = 0;
    place_expect_errors(p, deep, 1, "baedald.conf:1: more than 16 braces inside each other\n");
    memset(deep, '(', 200000);
    memcpy(deep, "a=", 2);
    place_write(p, deep);
    assert_true(place_load(p, &c) > 0);
    assert_non_null(strstr(p->errors, "baedald.conf:1: "));
    free(deep);
}

static void test_files(void **state)
{
    struct place *p = *state;
    struct config c;
    char path[256];

    assert_int_equal(place_load(p, &c), 1);
    assert_string_equal(p->errors, "baedald.conf: cannot be read: No such file or directory\n");
    place_write(p, "");
    mkdir(p->drop_ins, 0700);
    snprintf(path, sizeof(path), "%s/masked.conf", p->drop_ins);
    assert_int_equal(symlink("/dev/null", path), 0);
    place_load_good(p, &c);
    config_done(&c);
    snprintf(path, sizeof(path), "%s/directory.conf", p->drop_ins);
    mkdir(path, 0700);
    assert_int_equal(place_load(p, &c), 1);
    assert_string_equal(
            p->errors, "baedald.conf.d/directory.conf: cannot be read: Is a directory\n");
}

static void test_together(void **state)
{
    struct place *p = *state;

    place_expect_errors(p, "retry = {\n  backoff = \"10min\"\n}\n", 1,
            "baedald.conf:2: retry.backoff is more than retry.max_backoff\n");
    place_expect_errors(p, "retry = {\n  backoff = \"10s\"\n  max_backoff = 5 }\n", 1,
            "baedald.conf:3: retry.backoff is more than retry.max_backoff\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACE_TEST(test_unknown),
        PLACE_TEST(test_bad_values),
        PLACE_TEST(test_bad_lists),
        PLACE_TEST(test_bad_lanes),
        PLACE_TEST(test_duplicates),
        PLACE_TEST(test_quotes),
        PLACE_TEST(test_syntax),
        PLACE_TEST(test_hostile_texts),
        PLACE_TEST(test_files),
        PLACE_TEST(test_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
