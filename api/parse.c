#include "api/parse.h"

#include <errno.h>
#include <stdlib.h>

#include "api/idempotency.h"
#include "daemon/co/co.h"

struct parse {
    const struct request *request;
    const struct service_rules *rules;
    struct faults *faults;
    bool batch;
    struct job_spec spec;
    struct parsed_batch jobs;
    int rc;
};

void parsed_batch_done(struct parsed_batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        job_spec_done(&b->specs[i]);
    free(b->specs);
    *b = (struct parsed_batch){ 0 };
}

static int parse_batch_text(struct parse *p)
{
    const struct buf *body = &p->request->body;
    const char *key = p->request->idempotency_key;
    struct parsed_batch *b = &p->jobs;
    int rc = codec_batch(body->data, body->n, p->rules, &b->options, &b->specs, &b->n, p->faults);

    if (rc == 0 && key)
        rc = idempotency_digest("/v1/batches", key, body->data, body->n, &b->idempotency);
    b->keyed = key != NULL;
    return rc;
}

static int parse_run(void *arg)
{
    struct parse *p = arg;
    const struct request *r = p->request;

    p->rc = p->batch ? parse_batch_text(p)
                     : codec_job(r->body.data, r->body.n, r->idempotency_key, p->rules, &p->spec,
                               p->faults);
    return 0;
}

static void parse_on_loop(void *arg)
{
    parse_run(arg);
}

CO_SUSPENDS static int parse_here_or_there(struct parse *p)
{
    int rc;

    if (p->request->body.n <= CODEC_ON_LOOP_BYTES) {
        co_on_loop(parse_on_loop, p);
        return p->rc;
    }
    rc = co_to_thread(parse_run, p, NULL);
    return rc < 0 ? rc : p->rc;
}

int parse_job(const struct request *r, struct job_spec *ret, struct faults *faults)
{
    CLEANUP(cleanup_service_rules)
    struct service_rules *rules = service_rules_ref(r->service);
    struct parse p = { .request = r, .rules = rules, .faults = faults };
    int rc = parse_here_or_there(&p);

    if (rc < 0)
        job_spec_done(&p.spec);
    else
        *ret = p.spec;
    return rc;
}

int parse_batch(const struct request *r, struct parsed_batch *ret, struct faults *faults)
{
    CLEANUP(cleanup_service_rules)
    struct service_rules *rules = service_rules_ref(r->service);
    struct parse p = { .request = r, .rules = rules, .faults = faults, .batch = true };
    int rc = parse_here_or_there(&p);

    if (rc < 0)
        parsed_batch_done(&p.jobs);
    else
        *ret = p.jobs;
    return rc;
}
