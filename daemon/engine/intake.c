#include "daemon/engine/intake.h"

#include <errno.h>

#include "daemon/engine/activation.h"
#include "daemon/engine/engine.h"
#include "daemon/model/job.h"

static struct record *intake_make_record(struct engine *e, struct job *job)
{
    struct record *r = record_new(e, job_ref(job));

    if (!r) {
        job_unref(job);
        return NULL;
    }
    activation_prepare(r);
    if (records_add(&e->records, r) == 0)
        return r;
    record_free(r);
    return NULL;
}

int intake_adopt(struct engine *e, struct job *job, struct record **ret)
{
    struct record *r = records_find(&e->records, job->id);
    struct run *run = job->batch.key ? runs_find(&e->runs, job->batch) : NULL;

    if (r) {
        r->job->paged_out = false; /* any more */
        return -EEXIST;
    }
    r = intake_make_record(e, job);
    if (!r) {
        postpone_job(e, job);
        if (run)
            run_miss(run, job);
        return -ENOMEM;
    }
    if (run)
        run_join(run, r);
    *ret = r;
    return 0;
}

void intake_let_in(struct engine *e, struct job *job)
{
    struct record *r;
    int rc = intake_adopt(e, job, &r);

    if (rc < 0)
        return;
    if (r->run && r->run->cancelling)
        co_condition_notify_all(
                &r->run->changed); /* who cancels the batch looks for members again */
    else if (!e->stopping)
        activation_schedule(r);
}
