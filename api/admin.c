/* /v1/admin: what is for whoever runs the daemon. */
#include <errno.h>

#include "api/handlers.h"
#include "api/request.h"
#include "daemon/engine/service.h"

static json_t *backup_json(void *arg)
{
    const struct store_backup *b = arg;
    json_t *o = json_object();

    shape_set(&o, "path", shape_text(b->path));
    shape_set(&o, "bytes", json_integer(b->bytes));
    return o;
}

int admin_backup(struct request *r, struct reply *reply)
{
    CLEANUP(store_backup_done) struct store_backup backup = { 0 };
    int rc = service_backup(r->service, &backup);

    if (rc == -EBUSY) {
        reply_problem(reply, 409, NULL, "a backup is being made already");
        return 0;
    }
    return rc < 0 ? rc : reply_json(reply, 201, backup_json, &backup);
}
