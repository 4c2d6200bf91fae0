#include "tests/unit/config/place.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int place_setup(void **state)
{
    struct place *p = calloc(1, sizeof(*p));

    snprintf(p->directory, sizeof(p->directory), "/tmp/baedal-config-XXXXXX");
    if (!mkdtemp(p->directory))
        return -1;
    snprintf(p->path, sizeof(p->path), "%s/baedald.conf", p->directory);
    snprintf(p->drop_ins, sizeof(p->drop_ins), "%s.d", p->path);
    unsetenv("STATE_DIRECTORY");
    *state = p;
    return 0;
}

static void remove_all(const char *directory)
{
    DIR *d = opendir(directory);
    struct dirent *e;
    char path[512];

    while (d && (e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            snprintf(path, sizeof(path), "%s/%s", directory, e->d_name);
            if (e->d_type == DT_DIR)
                remove_all(path);
            else
                unlink(path);
        }
    if (d)
        closedir(d);
    rmdir(directory);
}

int place_teardown(void **state)
{
    struct place *p = *state;

    remove_all(p->directory);
    free(p->errors);
    free(p);
    return 0;
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    fclose(f);
}

void place_write(struct place *p, const char *text)
{
    write_file(p->path, text);
}

void place_write_drop_in(struct place *p, const char *name, const char *text)
{
    char path[256];

    mkdir(p->drop_ins, 0700);
    snprintf(path, sizeof(path), "%s/%s", p->drop_ins, name);
    write_file(path, text);
}

/* Makes /tmp/…/x into x in what was printed. */
static void cut_directory(const struct place *p, char *text)
{
    size_t n = strlen(p->directory) + 1;
    char *at;

    while ((at = strstr(text, p->directory)))
        memmove(at, at + n, strlen(at + n) + 1);
}

int place_load(struct place *p, struct config *ret)
{
    size_t n;
    FILE *errors;
    int rc;

    free(p->errors);
    errors = open_memstream(&p->errors, &n);
    rc = config_load(p->path, errors, ret);
    fclose(errors);
    cut_directory(p, p->errors);
    return rc;
}

void place_load_good(struct place *p, struct config *ret)
{
    int rc = place_load(p, ret);

    assert_string_equal(p->errors, "");
    assert_int_equal(rc, 0);
}

void place_expect_errors(struct place *p, const char *text, int n, const char *errors)
{
    struct config c;

    place_write(p, text);
    assert_int_equal(place_load(p, &c), n);
    assert_string_equal(p->errors, errors);
}

char *place_dump(const struct place *p, const struct config *c)
{
    char *text;
    size_t n;
    FILE *out = open_memstream(&text, &n);

    config_dump(c, out);
    fclose(out);
    cut_directory(p, text);
    return text;
}
