#include "daemon/model/attempt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const phase_names[PHASE_MAX] = {
    [PHASE_NONE] = "none",
    [PHASE_DNS] = "dns",
    [PHASE_CONNECT] = "connect",
    [PHASE_TLS] = "tls",
    [PHASE_REQUEST] = "request",
    [PHASE_RESPONSE] = "response",
};

static const char *const failure_names[FAILURE_MAX] = {
    [FAILURE_DNS_NOT_FOUND] = "dns_not_found",
    [FAILURE_DNS_FAILED] = "dns_failed",
    [FAILURE_BLOCKED_ADDRESS] = "blocked_address",
    [FAILURE_CONNECTION_REFUSED] = "connection_refused",
    [FAILURE_CONNECTION_FAILED] = "connection_failed",
    [FAILURE_CONNECTION_RESET] = "connection_reset",
    [FAILURE_TLS_FAILED] = "tls_failed",
    [FAILURE_CERTIFICATE_INVALID] = "certificate_invalid",
    [FAILURE_TIMEOUT] = "timeout",
    [FAILURE_BAD_RESPONSE] = "bad_response",
    [FAILURE_BODY_TOO_LARGE] = "body_too_large",
    [FAILURE_TOO_MANY_REDIRECTS] = "too_many_redirects",
    [FAILURE_BAD_REDIRECT] = "bad_redirect",
    [FAILURE_UNEXPECTED_STATUS] = "unexpected_status",
    [FAILURE_OUTCOME_UNKNOWN] = "outcome_unknown",
    [FAILURE_DEADLINE_EXCEEDED] = "deadline_exceeded",
    [FAILURE_CANCELLED] = "cancelled",
    [FAILURE_INTERNAL] = "internal",
    [FAILURE_DAEMON_CRASHED] = "daemon_crashed",
    [FAILURE_STORAGE_FULL] = "storage_full",
};

const char *phase_name(enum phase p)
{
    return phase_names[p];
}

const char *failure_name(enum failure f)
{
    return failure_names[f];
}

void job_error_done(struct job_error *e)
{
    free(e->message);
    *e = (struct job_error){ 0 };
}

int job_error_copy(const struct job_error *from, struct job_error *ret)
{
    struct job_error e = *from;

    if (from->message) {
        e.message = strdup(from->message);
        if (!e.message)
            return -ENOMEM;
    }
    *ret = e;
    return 0;
}

void attempt_init(struct attempt *a)
{
    *a = (struct attempt){
        .dns_us = PHASE_NOT_TAKEN,
        .connect_us = PHASE_NOT_TAKEN,
        .tls_us = PHASE_NOT_TAKEN,
        .send_us = PHASE_NOT_TAKEN,
        .first_byte_us = PHASE_NOT_TAKEN,
        .receive_us = PHASE_NOT_TAKEN,
    };
}

void attempt_done(struct attempt *a)
{
    free(a->url);
    free(a->method);
    job_error_done(&a->error);
    *a = (struct attempt){ 0 };
}
