/*
 * The scanner knows as much of the syntax as it takes to find names, numbers, strings and
 * comments; everything else passes through to libconfig, which is the judge of it. It keeps line
 * breaks, so that libconfig counts lines as the file has them.
 */
#include "config/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/buf.h"
#include "daemon/base/cleanup.h"

#define SOURCE_MAX_BYTES (4 << 20) /* far more than 1024 lanes take */
#define SOURCE_MAX_DEPTH 16
#define SOURCE_MARK      '*' /* libconfig takes it in names, we do not */

/* A name that stands in a group that is still open. */
struct scan_name {
    const char *text;
    size_t n;
    unsigned line;
};

struct scan {
    const char *at, *end;
    const char *path;
    unsigned line;
    struct mistakes *mistakes;
    struct buf out;
    struct scan_name *names; /* of the open groups, outermost first */
    size_t n_names, capacity;
    size_t groups[SOURCE_MAX_DEPTH]; /* where each open group's names begin */
    size_t depth;
    int rc; /* -ENOMEM: give up */
};

static void scan_emit(struct scan *s, const char *text, size_t n)
{
    if (s->rc == 0)
        s->rc = buf_append(&s->out, text, n);
}

/* Passes everything up to `end` through. */
static void scan_pass(struct scan *s, const char *end)
{
    scan_emit(s, s->at, (size_t)(end - s->at));
    for (; s->at < end; s->at++)
        s->line += *s->at == '\n';
}

static const char *scan_find(const struct scan *s, const char *from, const char *what)
{
    const char *found = memmem(from, (size_t)(s->end - from), what, strlen(what));

    return found ? found : s->end;
}

static const char *scan_end_of_string(const struct scan *s)
{
    const char *p = s->at + 1;

    while (p < s->end && *p != '"')
        p += *p == '\\' && p + 1 < s->end ? 2 : 1;
    return p < s->end ? p + 1 : s->end;
}

static bool scan_is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool scan_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void scan_add_name(struct scan *s, const char *name, size_t n)
{
    if (s->n_names == s->capacity) {
        size_t capacity = s->capacity ? 2 * s->capacity : 32;
        struct scan_name *names = reallocarray(s->names, capacity, sizeof(*names));

        if (!names) {
            s->rc = -ENOMEM;
            return;
        }
        s->names = names;
        s->capacity = capacity;
    }
    s->names[s->n_names++] = (struct scan_name){ name, n, s->line };
}

static const struct scan_name *scan_find_name(const struct scan *s, const char *name, size_t n)
{
    for (size_t i = s->depth ? s->groups[s->depth - 1] : 0; i < s->n_names; i++)
        if (s->names[i].n == n && memcmp(s->names[i].text, name, n) == 0)
            return &s->names[i];
    return NULL;
}

static void scan_name(struct scan *s, size_t n)
{
    const struct scan_name *before = scan_find_name(s, s->at, n);

    if (!before) {
        scan_add_name(s, s->at, n);
        return;
    }
    mistake_at(s->mistakes, s->path, s->line, "%.*s is set twice, first on line %u", (int)n, s->at,
            before->line);
    if (s->rc == 0)
        s->rc = buf_printf(&s->out, "%cx%zu%c", SOURCE_MARK, s->out.n, SOURCE_MARK);
}

/* What has been passed on ends in something that a value follows. */
static bool scan_value_expected(const struct scan *s)
{
    size_t n = s->out.n;

    while (n > 0 && strchr(" \t\r\n", s->out.data[n - 1]))
        n--;
    return n > 0 && strchr("=:[", s->out.data[n - 1]);
}

/* Reports a bare value and passes it on in quotes, so that its meaning is checked all the same. */
static void scan_quote(struct scan *s, size_t n)
{
    mistake_at(s->mistakes, s->path, s->line, "%.*s has to be in quotes: \"%.*s\"", (int)n, s->at,
            (int)n, s->at);
    scan_emit(s, "\"", 1);
    scan_pass(s, s->at + n);
    scan_emit(s, "\"", 1);
}

static bool scan_is_boolean(const char *text, size_t n)
{
    return (n == 4 && strncasecmp(text, "true", n) == 0) ||
           (n == 5 && strncasecmp(text, "false", n) == 0);
}

/* A word is a name when = or : follows. */
static void scan_word(struct scan *s)
{
    const char *end = s->at, *next;
    size_t n;

    while (end < s->end && (scan_is_alpha(*end) || scan_is_digit(*end) || strchr("-_", *end)))
        end++;
    n = (size_t)(end - s->at);
    for (next = end; next < s->end && strchr(" \t\r\n", *next); next++)
        ;
    if (next < s->end && (*next == '=' || *next == ':'))
        scan_name(s, n);
    else if (scan_value_expected(s) && !scan_is_boolean(s->at, n)) {
        scan_quote(s, n);
        return;
    }
    scan_pass(s, end);
}

/* Where a number ends that libconfig takes, with up to two L. */
static const char *scan_end_of_number(const char *text)
{
    char *stop;

    strtod(text, &stop);
    for (int i = 0; i < 2 && *stop == 'L'; i++)
        stop++;
    return stop;
}

/* libconfig 1.5 takes an integer without L modulo 2^32. */
static void scan_number(struct scan *s)
{
    const char *end = s->at + 1;
    CLEANUP(cleanup_free) char *text = NULL;
    char *stop;
    long long value;

    while (end < s->end && (scan_is_alpha(*end) || scan_is_digit(*end) || *end == '.' ||
                                   (strchr("+-", *end) && strchr("eE", end[-1]))))
        end++;
    text = strndup(s->at, (size_t)(end - s->at));
    if (!text) {
        s->rc = -ENOMEM;
        return;
    }
    if (*scan_end_of_number(text)) {
        scan_quote(s, (size_t)(end - s->at));
        return;
    }
    errno = 0;
    value = strtoll(text, &stop, strpbrk(text, "xX") ? 16 : 10);
    if (errno == ERANGE) {
        mistake_at(s->mistakes, s->path, s->line, "%s is too large a number", text);
        scan_emit(s, "0", 1);
        s->at = end;
        return;
    }
    scan_pass(s, end);
    if (*stop == 0 && (value > INT32_MAX || value < INT32_MIN))
        scan_emit(s, "L", 1);
}

static void scan_open(struct scan *s)
{
    if (s->depth < SOURCE_MAX_DEPTH)
        s->groups[s->depth] = s->n_names;
    s->depth++;
    scan_pass(s, s->at + 1);
}

static void scan_close(struct scan *s)
{
    if (s->depth > 0)
        s->n_names = s->groups[--s->depth];
    scan_pass(s, s->at + 1);
}

/* Drops what begins here up to the end of the line. */
static void scan_refuse_directive(struct scan *s)
{
    const char *end = scan_find(s, s->at, "\n");

    mistake_at(s->mistakes, s->path, s->line,
            "%.*s: there are no directives; put more files into baedald.conf.d/",
            (int)strcspn(s->at, " \t\r\n\""), s->at);
    s->at = end;
}

/* libconfig takes a comment that never ends for an empty rest. */
static void scan_comment(struct scan *s)
{
    const char *end = scan_find(s, s->at + 2, "*/");

    if (end == s->end)
        mistake_at(s->mistakes, s->path, s->line, "a comment that has no end");
    else
        end += 2;
    scan_pass(s, end);
}

static void scan_refuse_mark(struct scan *s)
{
    mistake_at(s->mistakes, s->path, s->line, "%c is no part of a name", SOURCE_MARK);
    s->at++;
}

static void scan_token(struct scan *s)
{
    char c = *s->at, next = s->at + 1 < s->end ? s->at[1] : 0;

    if (c == '"')
        scan_pass(s, scan_end_of_string(s));
    else if (c == '#' || (c == '/' && next == '/'))
        scan_pass(s, scan_find(s, s->at, "\n"));
    else if (c == '/' && next == '*')
        scan_comment(s);
    else if (scan_is_alpha(c))
        scan_word(s);
    else if (scan_is_digit(c) || ((c == '-' || c == '+') && scan_is_digit(next)))
        scan_number(s);
    else if (c == '{')
        scan_open(s);
    else if (c == '}')
        scan_close(s);
    else if (c == SOURCE_MARK)
        scan_refuse_mark(s);
    else if (c == '@')
        scan_refuse_directive(s);
    else
        scan_pass(s, s->at + 1);
}

static void source_scan(struct scan *s)
{
    if (s->end - s->at >= 3 && memcmp(s->at, "\xef\xbb\xbf", 3) == 0)
        s->at += 3;
    while (s->at < s->end && s->rc == 0 && s->depth <= SOURCE_MAX_DEPTH)
        scan_token(s);
}

static int source_slurp(const char *path, struct buf *ret)
{
    CLEANUP(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;
    int rc;

    if (fd < 0)
        return -errno;
    do {
        rc = buf_reserve(ret, 65536);
        if (rc < 0)
            return rc;
        n = read(fd, ret->data + ret->n, 65536);
        if (n < 0)
            return -errno;
        ret->n += (size_t)n;
        if (ret->n > SOURCE_MAX_BYTES)
            return -EFBIG;
    } while (n > 0);
    return buf_append(ret, "", 1);
}

/* The text of a line without the space around it, shortened. */
static void source_quote_line(const char *text, unsigned line, char *ret, size_t size)
{
    size_t n;

    while (--line > 0 && (text = strchr(text, '\n')))
        text++;
    text = text ? text + strspn(text, " \t\r") : "";
    n = strcspn(text, "\r\n");
    if (n >= size)
        n = size - 1;
    memcpy(ret, text, n);
    ret[n] = 0;
}

static void source_report(struct source *s, const char *text, struct mistakes *mistakes)
{
    const char *error = config_error_text(&s->tree);
    unsigned line = (unsigned)config_error_line(&s->tree);
    char quoted[61];

    if (!error || strcmp(error, "syntax error") != 0) {
        mistake_at(mistakes, s->path, line, "%s", error ? error : "cannot be read");
        return;
    }
    source_quote_line(text, line, quoted, sizeof(quoted));
    if (quoted[0])
        mistake_at(mistakes, s->path, line, "syntax error at or before: %s", quoted);
    else
        mistake_at(mistakes, s->path, line, "syntax error before this line");
}

static int source_parse(
        struct source *s, const struct buf *file, struct scan *scan, struct mistakes *mistakes)
{
    size_t length = file->n - 1;

    s->broken = true;
    if (memchr(file->data, 0, length)) {
        mistake_at(mistakes, s->path, 0, "has a NUL byte: it is no text");
        return 0;
    }
    scan->at = file->data;
    scan->end = file->data + length;
    source_scan(scan);
    if (scan->rc == 0)
        scan->rc = buf_append(&scan->out, "", 1);
    if (scan->rc < 0)
        return scan->rc;
    if (scan->depth > SOURCE_MAX_DEPTH) {
        mistake_at(mistakes, s->path, scan->line, "more than %d braces inside each other",
                SOURCE_MAX_DEPTH);
        return 0;
    }
    s->broken = config_read_string(&s->tree, scan->out.data) != CONFIG_TRUE;
    if (s->broken)
        source_report(s, file->data, mistakes);
    return 0;
}

int source_read(const char *path, struct mistakes *mistakes, struct source *ret)
{
    struct scan scan = { .path = path, .line = 1, .mistakes = mistakes };
    struct buf file = { 0 };
    int rc;

    *ret = (struct source){ .path = strdup(path), .broken = true };
    if (!ret->path)
        return -ENOMEM;
    config_init(&ret->tree);
    rc = source_slurp(path, &file);
    if (rc == 0) {
        rc = source_parse(ret, &file, &scan, mistakes);
    } else if (rc != -ENOMEM) {
        mistake_at(mistakes, path, 0, "cannot be read: %s", strerror(-rc));
        rc = 0;
    }
    buf_done(&file);
    buf_done(&scan.out);
    free(scan.names);
    if (rc < 0)
        source_done(ret);
    return rc;
}

void source_done(struct source *s)
{
    config_destroy(&s->tree);
    free(s->path);
    *s = (struct source){ 0 };
}

bool source_is_duplicate(const config_setting_t *s)
{
    const char *name = config_setting_name(s);

    return name && name[0] == SOURCE_MARK;
}

const char *source_name(const config_setting_t *s)
{
    return source_is_duplicate(s) ? strchr(config_setting_name(s) + 1, SOURCE_MARK) + 1
                                  : config_setting_name(s);
}
