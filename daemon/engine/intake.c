#include "daemon/engine/intake.h"

#include <errno.h>

#include "daemon/engine/activation.h"
#include "daemon/engine/engine.h"
#include "daemon/model/job.h"

int intake_adopt(struct engine *e, struct job *job, struct record **ret)
{
    struct record *r;
    struct run *run;

    r = records_find(&e->records, job->id);
    if (r) {
        r->job->paged_out = false; /* any more */
        return -EEXIST;
    }
    r = record_new(e, job_ref(job));
    if (!r) {
        job_unref(job);
        return -ENOMEM;
    }
    activation_prepare(r);
    if (records_add(&e->records, r) < 0) {
        record_free(r);
        return -ENOMEM;
    }
    run = job->batch.key ? runs_find(&e->runs, job->batch) : NULL;
    if (run)
        run_join(run, r);
    *ret = r;
    return 0;
}

void intake_let_in(struct engine *e, struct job *job)
{
    struct record *r;
    int rc = intake_adopt(e, job, &r);

    if (rc == -EEXIST)
        return;
    if (rc < 0)
        postpone_job(e, job);
    else if (r->run && r->run->cancelling)
        co_condition_notify_all(
                &r->run->changed); /* who cancels the batch looks for members again */
    else if (!e->stopping)
        activation_schedule(r);
}
