/* /livez: the process answers. /readyz: it takes work. */
#include "api/handlers.h"
#include "api/request.h"
#include "daemon/engine/service.h"

static json_t *health_json(void *state)
{
    json_t *o = json_object();

    shape_set(&o, "status", shape_text(state));
    return o;
}

int health_live(struct request *r, struct reply *reply)
{
    (void)r;
    return reply_json(reply, 200, health_json, (char[]){ "ok" });
}

int health_ready(struct request *r, struct reply *reply)
{
    if (service_ready(r->service) && !request_stopping(r))
        return reply_json(reply, 200, health_json, (char[]){ "ready" });
    reply_problem(reply, 503, NULL, "the daemon does not take work now");
    return reply_add_header(reply, "Retry-After", "5");
}
