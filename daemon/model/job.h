/* Jobs: what was asked for, and how it stands (DESIGN sections 1, 6 and 8). Plain data. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/uuid7.h"
#include "daemon/model/attempt.h"
#include "daemon/model/pack.h"

/* The enums are stored by number: append only. */
enum job_kind { JOB_FETCH, JOB_DELIVERY, JOB_KIND_MAX };

/* JOB_RUNNING is never stored: it is the live set laid over pending and waiting. */
enum job_state {
    JOB_PENDING,
    JOB_WAITING,
    JOB_SUCCEEDED,
    JOB_FAILED,
    JOB_CANCELLED,
    JOB_RUNNING,
    JOB_STATE_MAX
};

enum job_step { STEP_REQUEST, STEP_DELIVER, STEP_WAIT, STEP_COLLECT, STEP_MAX };

enum on_unknown { UNKNOWN_RETRY, UNKNOWN_FAIL, UNKNOWN_MAX };

/* What carries a job's exchanges out. */
enum executor {
    EXECUTOR_COROUTINE,
    EXECUTOR_THREAD,
    EXECUTOR_PROCESS,
    EXECUTOR_MAX,
    EXECUTOR_INVALID = -EINVAL
};

const char *job_kind_name(enum job_kind k);
const char *job_state_name(enum job_state s);
const char *job_step_name(enum job_step s);
const char *on_unknown_name(enum on_unknown u);
const char *executor_name(enum executor x);
/* The inverse; -EINVAL. */
int job_kind_parse(const char *text, enum job_kind *ret);
int job_state_parse(const char *text, enum job_state *ret);
int job_step_parse(const char *text, enum job_step *ret);
/* EXECUTOR_INVALID when it names none. */
enum executor executor_from_text(const char *text);

static inline bool job_state_ended(enum job_state s)
{
    return s == JOB_SUCCEEDED || s == JOB_FAILED || s == JOB_CANCELLED;
}

/* Fixed limits of a job (DESIGN section 9). */
#define JOB_URL_MAX_BYTES     8192
#define JOB_METHOD_MAX_BYTES  32
#define JOB_HEADERS_MAX       64
#define JOB_HEADERS_MAX_BYTES 32768
#define JOB_LABELS_MAX        16
#define JOB_LABEL_MAX_BYTES   128
#define JOB_NAME_MAX_BYTES    256
#define JOB_PRIORITY_MAX      100 /* and -100 at least */
#define JOB_ATTEMPTS_MAX      100
#define JOB_REDIRECTS_MAX     20
#define BODY_INLINE_MAX_BYTES 65536 /* an answer's body past it is a file */

/* One HTTP request that a job makes. All pointers are owned. */
struct request_spec {
    char *url;    /* canonical; NULL: the step has no network */
    char *origin; /* scheme://host:port: its lane */
    char *method;
    struct blob headers; /* packed; what the client gave */
    struct blob body;    /* freed once the job has ended */
    int64_t body_bytes;  /* stays */
};

struct label {
    char *key, *value;
};

/* A client's Idempotency-Key (DESIGN section 8), as two SHA-256 digests. */
#define IDEMPOTENCY_DIGEST_BYTES 32
struct idempotency {
    unsigned char key[IDEMPOTENCY_DIGEST_BYTES];         /* of its scope, the path and the key */
    unsigned char fingerprint[IDEMPOTENCY_DIGEST_BYTES]; /* of what was asked for with it */
};

struct job_spec {
    enum job_kind kind;
    char *name;                  /* may be NULL */
    struct request_spec request; /* the fetch, or the delivery's first step */
    struct request_spec collect; /* the delivery's last step; url NULL: none */
    int64_t wait_us;             /* delivery: between the two */
    int64_t timeout_us;          /* one try */
    int64_t deadline_us;         /* the whole job from its creation; 0: none */
    int64_t delay_us;            /* from its creation to its first due time */
    int64_t at_us;               /* instead of delay: daemon time; 0: none */
    int64_t max_body_bytes;
    unsigned redirects; /* followed at most */
    struct status_ranges expect;
    unsigned attempts; /* tries of a step, at most */
    int64_t backoff_us, max_backoff_us;
    int priority; /* higher is served first */
    enum on_unknown on_unknown;
    enum executor executor; /* of all its network steps */
    bool idempotent;        /* said by the job, or by its method */
    struct label *labels;
    size_t n_labels;
    struct idempotency *idempotency; /* owned; NULL: none. Only the insertion looks at it */
};

void request_spec_done(struct request_spec *r);
void job_spec_done(struct job_spec *s);
/* RFC 9110 section 9.2.2: GET, HEAD, PUT, DELETE, OPTIONS, TRACE. */
bool method_is_idempotent(const char *method);

enum job_event_kind { EVENT_DELIVERED, EVENT_WAITED, EVENT_COLLECTED, EVENT_MAX };
const char *job_event_name(enum job_event_kind k);

/* At most one of each kind, so a job has an array of EVENT_MAX times; 0: not yet. */
struct job_events {
    int64_t at_us[EVENT_MAX];
};

/* Where an answer's body is. */
struct body {
    int64_t bytes;  /* kept, decoded */
    char *data;     /* owned; NULL when it is in a file or empty */
    char file[64];  /* name below the store's bodies/; "" when inline */
    bool truncated; /* the answer had more */
};

void body_done(struct body *b);

/* The answer of the last network step. */
struct job_result {
    unsigned status; /* 0: there is no result */
    unsigned step;   /* of enum job_step: whose body it is */
    struct blob headers;
    int64_t body_bytes;
    char *body_type; /* Content-Type; owned, may be NULL */
    bool truncated;
};

void job_result_done(struct job_result *r);

struct job {
    struct uuid7 id;
    unsigned refs; /* main thread only */
    struct job_spec spec;
    struct uuid7 batch; /* key 0: none */
    unsigned index;     /* place in the batch, from 0 */
    bool held;          /* a sequence or a concurrency holds it back */
    bool running;       /* an activation is live; never stored */
    bool in_flight;     /* stored: a request was about to start */
    bool paged_out;     /* stored: it is not in memory, but for a copy that is being written */
    unsigned crashes;   /* ends of the daemon in a row that came while its request was in flight */
    enum job_state state; /* never JOB_RUNNING; see job_shown_state() */
    enum job_step step;
    unsigned tries;                                      /* of this step, ended */
    int64_t created_us, due_us, started_us, finished_us; /* daemon time; 0: not yet */
    int64_t finished_seq; /* order of finishing within its batch, from 1 */
    struct attempt *attempts;
    size_t n_attempts;
    struct job_events events;
    struct job_result result;
    struct job_error error;
    struct job *next_postponed; /* the engine's */
};

/* A job with one reference; takes the spec over (it is empty afterwards). NULL: no memory. */
struct job *job_new(struct job_spec *spec);
struct job *job_ref(struct job *j);
struct job *job_unref(struct job *j);
CLEANUP_DEFINE(struct job, job_unref, cleanup_job)

static inline enum job_state job_shown_state(const struct job *j)
{
    return j->running && !job_state_ended(j->state) ? JOB_RUNNING : j->state;
}

/*
 * What one activation did, to be committed as a whole and then applied to the job. Everything it
 * points to is the activation's until job_apply() moves it into the job.
 */
struct checkpoint {
    struct job *job;
    enum job_state state;
    enum job_step step;
    unsigned tries;
    int64_t due_us, started_us, finished_us, finished_seq;
    struct attempt *attempts; /* new ones */
    size_t n_attempts;
    struct job_events events;  /* all */
    struct job_result *result; /* NULL: as it was */
    struct body *body;         /* of `result`; NULL: none */
    struct job_error error;
    bool page_out;          /* it leaves memory with this; not for one that ends */
    unsigned crashes;       /* 0, but for the checkpoint that a start makes after a crash */
    const int64_t *release; /* keys of held jobs that may go on once this is committed */
    size_t n_release;
};

/* Starts as the job stands. */
void checkpoint_init(struct checkpoint *c, struct job *j);
/* Frees what was not applied. */
void checkpoint_done(struct checkpoint *c);
/* Before the commit, so that job_apply() can't fail. -ENOMEM. */
int job_make_room(struct job *j, const struct checkpoint *c);
/* After the commit: moves it into the job. An ended job gives up its request bodies. */
void job_apply(struct job *j, struct checkpoint *c);
/* When it may start for the first time: its `at`, or its creation and `delay`. */
int64_t job_first_due_us(const struct job *j);
/* What it takes in memory, about. */
int64_t job_bytes(const struct job *j);
/* When its deadline ends it; 0: it has none. */
int64_t job_ends_us(const struct job *j);
/* The request of a step; NULL: such a step has none, ever. Its url may be NULL too. */
const struct request_spec *job_step_request(const struct job *j, enum job_step step);
/*
 * The number that stands for a lane in the store: of a request's origin, or 0 for what needs no
 * network. Stable for ever. Two origins could share one: whoever pages by it gets both.
 */
int64_t lane_key(const char *origin);
/* That of the step. */
int64_t job_lane_key(const struct job *j, enum job_step step);
