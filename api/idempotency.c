#include "api/idempotency.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/digest.h"
#include "api/request.h"
#include "daemon/base/buf.h"

_Static_assert(DIGEST_BYTES == IDEMPOTENCY_DIGEST_BYTES, "SHA-256");

bool idempotency_is_key(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] <= 0x20 || text[i] >= 0x7f)
            return false;
    return n >= 1 && n <= IDEMPOTENCY_KEY_MAX_BYTES;
}

/* RFC 8941 section 4.2.5; the result is at most as long as the text. */
static int unquote(const char *text, size_t n, char *to, size_t *ret_n)
{
    size_t used = 0;

    if (n < 2 || text[n - 1] != '"')
        return -EINVAL;
    for (size_t i = 1; i < n - 1; i++) {
        if (text[i] == '"')
            return -EINVAL;
        if (text[i] == '\\') {
            i++;
            if (i == n - 1 || !strchr("\"\\", text[i]))
                return -EINVAL;
        }
        to[used++] = text[i];
    }
    *ret_n = used;
    return 0;
}

int idempotency_parse(const char *value, size_t n, char **ret)
{
    char *key = calloc(1, n + 1);
    int rc = 0;

    if (!key)
        return -ENOMEM;
    if (n > 0 && value[0] == '"')
        rc = unquote(value, n, key, &n);
    else
        memcpy(key, value, n);
    if (rc == 0 && !idempotency_is_key(key, n))
        rc = -EINVAL;
    if (rc < 0) {
        free(key);
        return rc;
    }
    key[n] = 0;
    *ret = key;
    return 0;
}

int idempotency_digest(
        const char *path, const char *key, const char *body, size_t n, struct idempotency *ret)
{
    struct buf scoped = { 0 };
    /* An empty scope: all clients share it while there are no tokens. */
    int rc = buf_append(&scoped, "", 1);

    if (rc == 0)
        rc = buf_append(&scoped, path, strlen(path) + 1);
    if (rc == 0)
        rc = buf_append_str(&scoped, key);
    if (rc == 0)
        rc = digest_sha256(scoped.data, scoped.n, ret->key);
    if (rc == 0)
        rc = digest_sha256(body, n, ret->fingerprint);
    buf_done(&scoped);
    return rc;
}

const struct idempotency_refusal *idempotency_refusal(enum submit_outcome outcome)
{
    static const struct idempotency_refusal mismatched = { 422,
        "this key came with something else before" };
    static const struct idempotency_refusal forgotten = { 410,
        "what came with this key first has ended, and retention has removed it" };

    switch (outcome) {
    case SUBMIT_ACCEPTED:
    case SUBMIT_REPLAYED:
        return NULL;
    case SUBMIT_MISMATCHED:
        return &mismatched;
    case SUBMIT_FORGOTTEN:
        return &forgotten;
    }
    return NULL;
}

bool idempotency_refuse(const struct request *r, enum submit_outcome outcome, struct reply *reply)
{
    CLEANUP(faults_done) struct faults faults = { 0 };
    const struct idempotency_refusal *refusal = idempotency_refusal(outcome);
    struct place root = { 0 }, key = { .parent = &root, .key = "idempotency_key" };

    if (!refusal)
        return false;
    if (r->idempotency_key)
        faults_parameter(&faults, IDEMPOTENCY_HEADER, "%s", refusal->detail);
    else
        faults_at(&faults, &key, "%s", refusal->detail);
    reply_problem(reply, refusal->status, &faults, "%s", refusal->detail);
    return true;
}

int idempotency_say_replayed(struct reply *reply)
{
    return reply_add_header(reply, "Idempotency-Replayed", "true");
}
