/* One HTTP request of a job: url, method, headers, body or payload. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/base64.h"
#include "api/codec_json.h"
#include "api/fields.h"
#include "daemon/base/buf.h"

#define JSON_TEXT_FLAGS (JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15))

struct header_count {
    size_t headers, bytes;
};

static int read_url(json_t *value, const struct place *at, const struct service_rules *rules,
        struct request_spec *ret, struct faults *faults)
{
    struct place here = { .parent = at, .key = "url" };
    struct error why = { "" };
    const char *url;
    int rc;

    if (!codec_string(value, &here, &url, faults))
        return 0;
    if (strlen(url) > JOB_URL_MAX_BYTES) {
        faults_at(faults, &here, "must be at most %d bytes", JOB_URL_MAX_BYTES);
        return 0;
    }
    rc = service_vet(rules, url, ret, &why);
    if (rc == -EINVAL || rc == -EACCES) {
        faults_at(faults, &here, "%s", why.text);
        return 0;
    }
    return rc;
}

static int read_method(const struct codec_request *from, const struct place *at, bool body,
        struct request_spec *ret, struct faults *faults)
{
    struct place here = { .parent = at, .key = "method" };
    const char *method = body ? from->body_method : from->default_method;
    size_t n;

    if (from->method && !codec_string(from->method, &here, &method, faults))
        return 0;
    n = strlen(method);
    if (!field_is_token(method, n) || n > JOB_METHOD_MAX_BYTES)
        faults_at(faults, &here, "must be an HTTP method: a token of at most %d bytes",
                JOB_METHOD_MAX_BYTES);
    else if (strpbrk(method, "abcdefghijklmnopqrstuvwxyz"))
        faults_at(faults, &here, "must be in capital letters: methods are case-sensitive");
    else if (strcmp(method, "CONNECT") == 0)
        faults_at(faults, &here, "CONNECT makes tunnels, which a job can't use");
    ret->method = strdup(method);
    return ret->method ? 0 : -ENOMEM;
}

static int add_header(struct request_spec *ret, const char *name, json_t *value,
        const struct place *at, struct header_count *count, struct faults *faults)
{
    const char *text;
    char *trimmed;
    size_t n;
    int rc;

    if (!codec_string(value, at, &text, faults))
        return 0;
    text += strspn(text, " \t");
    n = strlen(text);
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t'))
        n--;
    if (!field_is_header_value(text, n)) {
        faults_at(faults, at, "must not contain control characters");
        return 0;
    }
    count->headers++;
    count->bytes += strlen(name) + n;
    if (count->headers > JOB_HEADERS_MAX || count->bytes > JOB_HEADERS_MAX_BYTES)
        return 0; /* said once, by the caller */
    trimmed = strndup(text, n);
    if (!trimmed)
        return -ENOMEM;
    rc = pack_header(&ret->headers, name, trimmed);
    free(trimmed);
    return rc;
}

static bool check_header_name(
        const char *key, const struct place *at, char name[256], struct faults *faults)
{
    size_t n = strlen(key);

    if (!field_is_token(key, n) || n > 255) {
        faults_at(faults, at, "must be a header name: a token of at most 255 bytes");
        return false;
    }
    for (size_t i = 0; i <= n; i++)
        name[i] = (char)tolower((unsigned char)key[i]);
    if (field_header_is_owned(name)) {
        faults_at(faults, at, "is set by the daemon");
        return false;
    }
    return true;
}

static int read_headers(
        json_t *headers, const struct place *at, struct request_spec *ret, struct faults *faults)
{
    struct place here = { .parent = at, .key = "headers" };
    struct header_count count = { 0 };
    const char *key;
    json_t *value;
    int rc = 0;

    if (!json_is_object(headers)) {
        faults_at(faults, &here, "must be an object of names and values");
        return 0;
    }
    json_object_foreach (headers, key, value) {
        struct place field = { .parent = &here, .key = key };
        char name[256];

        if (!check_header_name(key, &field, name, faults))
            continue;
        if (!json_is_array(value))
            rc = add_header(ret, name, value, &field, &count, faults);
        for (size_t i = 0; rc == 0 && i < json_array_size(value); i++)
            rc = add_header(ret, name, json_array_get(value, i),
                    &(struct place){ .parent = &field, .index = i }, &count, faults);
        if (rc < 0)
            return rc;
    }
    if (count.headers > JOB_HEADERS_MAX)
        faults_at(faults, &here, "must be at most %d", JOB_HEADERS_MAX);
    if (count.bytes > JOB_HEADERS_MAX_BYTES)
        faults_at(faults, &here, "must be at most %d bytes together", JOB_HEADERS_MAX_BYTES);
    return 0;
}

/* Any JSON value as its compact text, and its Content-Type unless the job says another. */
static int take_json(json_t *value, struct request_spec *ret)
{
    char *text = json_dumps(value, JSON_TEXT_FLAGS);

    if (!text)
        return -ENOMEM;
    ret->body = (struct blob){ .data = text, .n = strlen(text) };
    if (pack_header_find(&ret->headers, "content-type"))
        return 0;
    return pack_header(&ret->headers, "content-type", "application/json");
}

static int take_text(json_t *value, struct request_spec *ret)
{
    return blob_copy(json_string_value(value), json_string_length(value), &ret->body);
}

static int take_base64(
        json_t *value, const struct place *at, struct request_spec *ret, struct faults *faults)
{
    struct buf bytes = { 0 };
    int rc = base64_decode(json_string_value(value), json_string_length(value), &bytes);

    if (rc == -EINVAL) {
        faults_at(faults, at, "must be base64 with padding and without line breaks");
        rc = 0;
    } else if (rc == 0) {
        ret->body = (struct blob){ .data = bytes.data, .n = bytes.n };
        bytes = (struct buf){ 0 };
    }
    buf_done(&bytes);
    return rc;
}

static int read_body(
        json_t *body, const struct place *at, struct request_spec *ret, struct faults *faults)
{
    struct place here = { .parent = at, .key = "body" };
    json_t *text = json_object_get(body, "text"), *base64 = json_object_get(body, "base64"),
           *json = json_object_get(body, "json");
    struct place member = { .parent = &here, .key = text ? "text" : "base64" };

    if (json_is_string(body))
        return take_text(body, ret);
    if (!json_is_object(body) || json_object_size(body) != 1 || (!text && !base64 && !json)) {
        faults_at(faults, &here,
                "must be a string, or an object with one of the keys text, base64, json");
        return 0;
    }
    if (json)
        return take_json(json, ret);
    if (!json_is_string(text ? text : base64)) {
        faults_at(faults, &member, "must be a string");
        return 0;
    }
    return text ? take_text(text, ret) : take_base64(base64, &member, ret, faults);
}

int codec_request(const struct codec_request *from, const struct place *at,
        const struct service_rules *rules, struct request_spec *ret, struct faults *faults)
{
    struct place payload = { .parent = at, .key = "payload" };
    bool body = from->body || from->payload;
    int rc = read_url(from->url, at, rules, ret, faults);

    if (rc == 0)
        rc = read_method(from, at, body, ret, faults);
    if (rc == 0 && from->headers)
        rc = read_headers(from->headers, at, ret, faults);
    if (from->body && from->payload)
        faults_at(faults, &payload, "can't go with body");
    if (rc == 0 && from->payload)
        rc = take_json(from->payload, ret);
    else if (rc == 0 && from->body)
        rc = read_body(from->body, at, ret, faults);
    ret->body_bytes = (int64_t)ret->body.n;
    return rc;
}
