#include "api/request.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/fields.h"

void request_done(struct request *r)
{
    free(r->path);
    free(r->query);
    for (size_t i = 0; i < r->n_parameters; i++) {
        free(r->parameters[i].name);
        free(r->parameters[i].value);
    }
    free(r->parameters);
    free(r->prefer);
    free(r->id_text);
    faults_done(&r->faults);
    buf_done(&r->body);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoding; -EINVAL for a broken escape and for NUL. */
static int decode(const char *text, size_t n, bool plus_is_space, char **ret)
{
    char *out = malloc(n + 1), *to = out;

    if (!out)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        int c = (unsigned char)text[i];

        if (c == '+' && plus_is_space) {
            c = ' ';
        } else if (c == '%') {
            int high = n - i > 2 ? hex_digit(text[i + 1]) : -1;
            int low = n - i > 2 ? hex_digit(text[i + 2]) : -1;

            c = high < 0 || low < 0 ? 0 : high << 4 | low;
            i += 2;
        }
        if (c == 0) {
            free(out);
            return -EINVAL;
        }
        *to++ = (char)c;
    }
    *to = 0;
    *ret = out;
    return 0;
}

static int add_parameter(struct request *r, const char *text, size_t n)
{
    const char *equals = memchr(text, '=', n);
    size_t name_n = equals ? (size_t)(equals - text) : n;
    struct request_parameter p = { 0 }, *list;
    int rc = decode(text, name_n, true, &p.name);

    if (rc == 0)
        rc = decode(equals ? equals + 1 : "", equals ? n - name_n - 1 : 0, true, &p.value);
    list = rc == 0 ? reallocarray(r->parameters, r->n_parameters + 1, sizeof(*list)) : NULL;
    if (!list) {
        free(p.name);
        free(p.value);
        return rc < 0 ? rc : -ENOMEM;
    }
    r->parameters = list;
    list[r->n_parameters++] = p;
    return 0;
}

int request_parse_target(struct request *r, const char *target, const char **ret_why)
{
    size_t path_n = strcspn(target, "?#");
    const char *p = target + path_n;
    int rc = decode(target, path_n, false, &r->path);

    *ret_why = "the path has a broken escape";
    if (rc < 0 || *p != '?')
        return rc;
    r->query = strdup(++p);
    if (!r->query)
        return -ENOMEM;
    *ret_why = "the query has a broken escape";
    while (*p && rc == 0) {
        size_t n = strcspn(p, "&");

        if (n > 0)
            rc = add_parameter(r, p, n);
        p += n + (p[n] == '&');
    }
    return rc;
}

const char *request_parameter(const struct request *r, const char *name)
{
    for (size_t i = 0; i < r->n_parameters; i++)
        if (strcmp(r->parameters[i].name, name) == 0)
            return r->parameters[i].value;
    return NULL;
}

void request_check_parameters(struct request *r, const char *const *allowed)
{
    for (size_t i = 0; i < r->n_parameters; i++) {
        const char *name = r->parameters[i].name;
        const char *const *known = allowed;

        while (known && *known && strcmp(*known, name) != 0)
            known++;
        if (!known || !*known)
            faults_parameter(&r->faults, name, "unknown parameter");
        else if (request_parameter(r, name) != r->parameters[i].value)
            faults_parameter(&r->faults, name, "was given twice");
    }
}

bool request_query_is_bad(const struct request *r, struct reply *reply)
{
    if (!faults_any(&r->faults))
        return false;
    reply_problem(reply, 400, &r->faults, "the query can't be understood");
    return true;
}

int request_id(const struct request *r, struct uuid7 *ret)
{
    return r->id_text && uuid7_parse(r->id_text, ret) == 0 ? 0 : -ENOENT;
}

/* The value of `wait` among the preferences, in microseconds; -1: none that can be understood. */
static int64_t preferred_wait(const char *prefer)
{
    for (const char *p = prefer; p && *p;) {
        char item[64];
        uint64_t seconds;
        size_t n;

        p += strspn(p, " \t");
        n = strcspn(p, ",;");
        if (n < sizeof(item)) {
            memcpy(item, p, n);
            item[n] = 0;
            while (n > 0 && strchr(" \t", item[n - 1]))
                item[--n] = 0;
            if (strncasecmp(item, "wait=", 5) == 0 &&
                    field_unsigned(item + 5, UINT32_MAX, &seconds) == 0)
                return (int64_t)seconds * CLOCK_US_PER_S;
        }
        p += strcspn(p, ",");
        p += *p == ',';
    }
    return -1;
}

void request_wait_time(struct request *r, int64_t *ret_us, bool *ret_preferred)
{
    const char *text = request_parameter(r, "wait");
    int64_t us = -1;

    *ret_preferred = false;
    if (text) {
        if (field_duration(text, &us) < 0)
            faults_parameter(&r->faults, "wait", "must be a duration like \"10s\" or \"500ms\"");
    } else {
        us = preferred_wait(r->prefer);
        *ret_preferred = us >= 0;
    }
    if (us < 0)
        us = 0;
    *ret_us = us < r->options->max_wait_us ? us : r->options->max_wait_us;
}

bool request_flag(struct request *r, const char *name)
{
    const char *text = request_parameter(r, name);

    if (!text || strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
        return false;
    if (strcmp(text, "true") != 0 && strcmp(text, "1") != 0)
        faults_parameter(&r->faults, name, "must be true or false");
    return true;
}

size_t request_limit(struct request *r, size_t usual, size_t most)
{
    const char *text = request_parameter(r, "limit");
    uint64_t value = usual;

    if (text && (field_unsigned(text, most, &value) < 0 || value == 0))
        faults_parameter(&r->faults, "limit", "must be a number from 1 to %zu", most);
    return (size_t)value;
}

int64_t request_cursor(struct request *r)
{
    const char *text = request_parameter(r, "cursor");
    uint64_t value = 0;
    size_t n = text ? strlen(text) : 0;

    if (!text)
        return 0;
    for (size_t i = 1; i < n && i < 17; i++) {
        int digit = hex_digit(text[i]);

        if (digit < 0)
            n = 0;
        else
            value = value << 4 | (unsigned)digit;
    }
    if (n < 2 || n > 17 || text[0] != 'c' || value == 0 || value > INT64_MAX) {
        faults_parameter(&r->faults, "cursor", "must be the next_cursor of an earlier answer");
        return 0;
    }
    return (int64_t)value;
}

void request_format_cursor(int64_t from, char text[REQUEST_CURSOR_SIZE])
{
    snprintf(text, REQUEST_CURSOR_SIZE, "c%" PRIx64, from);
}

int request_link_next(const struct request *r, const char *cursor, struct reply *reply)
{
    struct buf link = { 0 };
    int rc = buf_printf(&link, "<%s?", r->path);

    for (const char *p = r->query; p && *p && rc == 0;) {
        size_t n = strcspn(p, "&");

        if (n > 0 && strncmp(p, "cursor=", 7) != 0) {
            for (size_t i = 0; i < n && rc == 0; i++)
                rc = p[i] == '>' ? buf_append(&link, "%3E", 3) : buf_append(&link, p + i, 1);
            if (rc == 0)
                rc = buf_append(&link, "&", 1);
        }
        p += n + (p[n] == '&');
    }
    if (rc == 0)
        rc = buf_printf(&link, "cursor=%s>; rel=\"next\"", cursor);
    if (rc == 0)
        rc = reply_add_header(reply, "Link", "%.*s", (int)link.n, link.data);
    buf_done(&link);
    return rc;
}
