#include "api/parse.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/co/co.h"

struct parse {
    const char *text;
    size_t n;
    const struct service_rules *rules;
    struct faults *faults;
    bool batch;
    struct batch options;
    struct job_spec spec, *specs;
    size_t n_specs;
    int rc;
};

static int parse_run(void *arg)
{
    struct parse *p = arg;

    p->rc = p->batch ? codec_batch(p->text, p->n, p->rules, &p->options, &p->specs, &p->n_specs,
                               p->faults)
                     : codec_job(p->text, p->n, p->rules, &p->spec, p->faults);
    return 0;
}

static void parse_on_loop(void *arg)
{
    parse_run(arg);
}

static void parse_discard(struct parse *p)
{
    job_spec_done(&p->spec);
    for (size_t i = 0; i < p->n_specs; i++)
        job_spec_done(&p->specs[i]);
    free(p->specs);
}

CO_SUSPENDS static int parse_here_or_there(struct parse *p)
{
    int rc;

    if (p->n <= CODEC_ON_LOOP_BYTES) {
        co_on_loop(parse_on_loop, p);
        return p->rc;
    }
    p->rc = -ECANCELED;
    rc = co_to_thread(parse_run, p, NULL);
    if (rc < 0) {
        if (p->rc == 0)
            parse_discard(p);
        return rc;
    }
    return p->rc;
}

int parse_job(
        struct service *s, const char *text, size_t n, struct job_spec *ret, struct faults *faults)
{
    CLEANUP(cleanup_service_rules) struct service_rules *rules = service_rules_ref(s);
    struct parse p = { .text = text, .n = n, .rules = rules, .faults = faults };
    int rc = parse_here_or_there(&p);

    if (rc == 0)
        *ret = p.spec;
    return rc;
}

int parse_batch(struct service *s, const char *text, size_t n, struct batch *ret_options,
        struct job_spec **ret_specs, size_t *ret_n, struct faults *faults)
{
    CLEANUP(cleanup_service_rules) struct service_rules *rules = service_rules_ref(s);
    struct parse p = { .text = text, .n = n, .rules = rules, .faults = faults, .batch = true };
    int rc = parse_here_or_there(&p);

    if (rc < 0)
        return rc;
    *ret_options = p.options;
    *ret_specs = p.specs;
    *ret_n = p.n_specs;
    return 0;
}
