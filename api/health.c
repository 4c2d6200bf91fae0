/* /livez: the process answers. /readyz: it takes work. */
#include "api/handlers.h"
#include "api/request.h"
#include "daemon/engine/service.h"

static int health_reply(struct reply *reply, unsigned status, const char *state)
{
    int rc = buf_printf(&reply->body, "{\"status\":\"%s\"}\n", state);

    reply->status = status;
    return rc < 0 ? rc : reply_set_type(reply, REPLY_JSON);
}

int health_live(struct request *r, struct reply *reply)
{
    (void)r;
    return health_reply(reply, 200, "ok");
}

int health_ready(struct request *r, struct reply *reply)
{
    if (service_ready(r->service) && !request_stopping(r))
        return health_reply(reply, 200, "ready");
    reply_problem(reply, 503, NULL, "the daemon does not take work now");
    return reply_add_header(reply, "Retry-After", "5");
}
