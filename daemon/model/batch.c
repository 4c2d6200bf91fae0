#include "daemon/model/batch.h"

#include <errno.h>
#include <string.h>

static const char *const run_names[BATCH_RUN_MAX] = {
    [BATCH_GATHER] = "gather",
    [BATCH_SEQUENCE] = "sequence",
};

static const char *const on_error_names[ON_ERROR_MAX] = {
    [ON_ERROR_CONTINUE] = "continue",
    [ON_ERROR_CANCEL] = "cancel",
};

static const char *const state_names[BATCH_STATE_MAX] = {
    [BATCH_LOADING] = "loading",
    [BATCH_RUNNING] = "running",
    [BATCH_SUCCEEDED] = "succeeded",
    [BATCH_FAILED] = "failed",
    [BATCH_CANCELLED] = "cancelled",
};

const char *batch_run_name(enum batch_run r)
{
    return run_names[r];
}

const char *batch_on_error_name(enum batch_on_error e)
{
    return on_error_names[e];
}

const char *batch_state_name(enum batch_state s)
{
    return state_names[s];
}

int batch_run_parse(const char *text, enum batch_run *ret)
{
    for (int i = 0; i < BATCH_RUN_MAX; i++)
        if (strcmp(run_names[i], text) == 0) {
            *ret = (enum batch_run)i;
            return 0;
        }
    return -EINVAL;
}

int batch_on_error_parse(const char *text, enum batch_on_error *ret)
{
    for (int i = 0; i < ON_ERROR_MAX; i++)
        if (strcmp(on_error_names[i], text) == 0) {
            *ret = (enum batch_on_error)i;
            return 0;
        }
    return -EINVAL;
}
