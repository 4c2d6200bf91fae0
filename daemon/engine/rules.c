#include "daemon/engine/rules.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/engine/engine.h"
#include "daemon/engine/service.h"
#include "daemon/transfer/egress.h"

int service_rules_new(
        const struct service_options *options, struct egress *e, struct service_rules **ret)
{
    struct service_rules *r = calloc(1, sizeof(*r));

    if (!r)
        return -ENOMEM;
    r->defaults = options->defaults;
    r->max_body_bytes = options->max_body_bytes;
    r->egress = egress_ref(e);
    r->refs = 1;
    *ret = r;
    return 0;
}

struct service_rules *service_rules_ref(struct service *s)
{
    struct service_rules *r = engine_of(s)->rules;

    __atomic_add_fetch(&r->refs, 1, __ATOMIC_RELAXED);
    return r;
}

struct service_rules *service_rules_unref(struct service_rules *r)
{
    if (!r || __atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return NULL;
    egress_unref(r->egress);
    free(r);
    return NULL;
}

int service_vet(const struct service_rules *r, const char *url, struct request_spec *request,
        struct error *ret_why)
{
    struct egress_url parsed = { 0 };
    int rc = egress_url_parse(url, &parsed, ret_why);

    if (rc == 0)
        rc = egress_url_vet(r->egress, &parsed, ret_why);
    if (rc == 0) {
        request->url = TAKE_PTR(parsed.url);
        request->origin = TAKE_PTR(parsed.origin);
    }
    egress_url_done(&parsed);
    return rc;
}
