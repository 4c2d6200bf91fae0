/* An attempt: one HTTP exchange that was started, with its phases (DESIGN section 6). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How far an exchange got; also the phase that an error belongs to. */
enum phase {
    PHASE_NONE,
    PHASE_DNS,
    PHASE_CONNECT,
    PHASE_TLS,
    PHASE_REQUEST,
    PHASE_RESPONSE,
    PHASE_MAX
};

const char *phase_name(enum phase p);

/* Why a job or an attempt did not succeed: a closed list, stored by number: append only. */
enum failure {
    FAILURE_NONE,
    FAILURE_DNS_NOT_FOUND,   /* the name has no address */
    FAILURE_DNS_FAILED,      /* no answer, or a broken one, from the name servers */
    FAILURE_BLOCKED_ADDRESS, /* the egress rules refuse the address */
    FAILURE_CONNECTION_REFUSED,
    FAILURE_CONNECTION_FAILED, /* unreachable, or another error before it stood */
    FAILURE_CONNECTION_RESET,  /* closed or reset after it stood, before the answer was whole */
    FAILURE_TLS_FAILED,        /* handshake */
    FAILURE_CERTIFICATE_INVALID,
    FAILURE_TIMEOUT,        /* `timeout` of one try */
    FAILURE_BAD_RESPONSE,   /* not HTTP, or lying about itself */
    FAILURE_BODY_TOO_LARGE, /* more than `max_body` */
    FAILURE_TOO_MANY_REDIRECTS,
    FAILURE_BAD_REDIRECT,      /* a Location that may not be followed */
    FAILURE_UNEXPECTED_STATUS, /* not in `expect` */
    FAILURE_OUTCOME_UNKNOWN, /* bytes were sent, or a crash came between, and no answer is known */
    FAILURE_DEADLINE_EXCEEDED, /* `deadline` of the job */
    FAILURE_CANCELLED,
    FAILURE_INTERNAL,       /* ours: memory, disk, descriptors */
    FAILURE_DAEMON_CRASHED, /* several times in a row while its request was in flight */
    FAILURE_STORAGE_FULL,   /* no space left for the answer's body */
    FAILURE_MAX,
};

/* The name in the API, as "connection_refused"; NULL for FAILURE_NONE. */
const char *failure_name(enum failure f);

struct job_error {
    enum failure failure; /* FAILURE_NONE: no error */
    enum phase phase;
    bool retry_safe; /* a repetition can't do it twice */
    char *message;   /* owned; for people */
};

void job_error_done(struct job_error *e);
int job_error_copy(const struct job_error *from, struct job_error *ret);

#define PHASE_NOT_TAKEN (-1) /* a time that does not exist: null in the API */

struct attempt {
    unsigned n;           /* which try of its step, from 1 */
    unsigned hop;         /* 0, then 1 for each redirect followed */
    unsigned step;        /* of enum job_step */
    char *url, *method;   /* owned */
    int64_t started_us;   /* daemon time */
    int64_t lane_wait_us; /* before it started: due, but no permit; not in total_us */
    /* Each a span of its own; PHASE_NOT_TAKEN where it did not happen. total_us is their sum. */
    int64_t dns_us, connect_us, tls_us, send_us, first_byte_us, receive_us, total_us;
    bool reused;                        /* the connection */
    unsigned http_version;              /* 10, 11, 20; 0 unknown */
    char remote[56];                    /* "192.0.2.1:443", "[2001:db8::1]:443", or "" */
    int64_t sent_bytes, received_bytes; /* on the wire, headers and body */
    enum phase reached;
    unsigned status; /* 0: none */
    struct job_error error;
};

/* One of which nothing has happened yet. */
void attempt_init(struct attempt *a);
void attempt_done(struct attempt *a);
