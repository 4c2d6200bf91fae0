#include "api/query.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/fields.h"
#include "daemon/base/clock.h"

const char *query_parameter(const struct request *r, const char *name)
{
    for (size_t i = 0; i < r->n_parameters; i++)
        if (strcmp(r->parameters[i].name, name) == 0)
            return r->parameters[i].value;
    return NULL;
}

void query_check(struct request *r, const char *const *allowed)
{
    for (size_t i = 0; i < r->n_parameters; i++) {
        const char *name = r->parameters[i].name;
        const char *const *known = allowed;

        while (known && *known && strcmp(*known, name) != 0)
            known++;
        if (!known || !*known)
            faults_parameter(&r->faults, name, "unknown parameter");
        else if (query_parameter(r, name) != r->parameters[i].value)
            faults_parameter(&r->faults, name, "was given twice");
    }
}

bool query_is_bad(const struct request *r, struct reply *reply)
{
    if (!faults_any(&r->faults))
        return false;
    reply_problem(reply, 400, &r->faults, "the query can't be understood");
    return true;
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

void query_wait_time(struct request *r, int64_t *ret_us, bool *ret_preferred)
{
    const char *text = query_parameter(r, "wait");
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

bool query_flag(struct request *r, const char *name)
{
    const char *text = query_parameter(r, name);

    if (!text || strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
        return false;
    if (strcmp(text, "true") != 0 && strcmp(text, "1") != 0)
        faults_parameter(&r->faults, name, "must be true or false");
    return true;
}

size_t query_limit(struct request *r, size_t usual, size_t most)
{
    const char *text = query_parameter(r, "limit");
    uint64_t value = usual;

    if (text && (field_unsigned(text, most, &value) < 0 || value == 0))
        faults_parameter(&r->faults, "limit", "must be a number from 1 to %zu", most);
    return (size_t)value;
}

int64_t query_cursor(struct request *r)
{
    const char *text = query_parameter(r, "cursor");
    uint64_t value;

    if (!text)
        return 0;
    if (text[0] == 'c' && field_unsigned(text + 1, INT64_MAX, &value) == 0 && value > 0)
        return (int64_t)value;
    faults_parameter(&r->faults, "cursor", "must be the next_cursor of an earlier answer");
    return 0;
}

void query_format_cursor(int64_t from, char text[QUERY_CURSOR_SIZE])
{
    snprintf(text, QUERY_CURSOR_SIZE, "c%lld", (long long)from);
}

int query_link_next(const struct request *r, const char *cursor, struct reply *reply)
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
