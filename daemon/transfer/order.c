#include "daemon/transfer/order.h"

#include <errno.h>

#include "daemon/base/buf.h"
#include "daemon/transfer/egress.h"
#include "daemon/transfer/wire.h"

int order_put(struct buf *b, const struct flight *f, bool with_rules)
{
    const struct exchange *x = f->x;
    struct buf rules = { 0 };
    struct wire w;
    int rc = with_rules ? egress_pack(f->egress, &rules) : 0;

    if (rc < 0)
        return rc;
    wire_begin(&w, b, WIRE_ORDER);
    wire_put(&w, x->deadline_ns);
    wire_put(&w, x->max_body_bytes);
    wire_put(&w, x->idempotent);
    wire_put(&w, f->dns_us);
    wire_put(&w, f->limit_us);
    wire_put_text(&w, x->url);
    wire_put_text(&w, x->method);
    wire_put_text(&w, x->idempotency_key);
    wire_put_text(&w, f->pin);
    wire_put_bytes(&w, x->headers ? x->headers->data : NULL, x->headers ? x->headers->n : 0);
    wire_put_bytes(&w, x->body_bytes > 0 ? x->body : NULL, x->body_bytes);
    wire_put_bytes(&w, rules.data, rules.n);
    buf_done(&rules);
    return wire_end(&w);
}

static int order_get_rules(struct wire_view *v, struct order *o)
{
    size_t n;
    const char *rules = wire_get_bytes(v, &n);

    return rules ? egress_unpack(rules, n, &o->rules) : 0;
}

int order_get(struct wire_view *v, struct order *ret)
{
    struct order o = { 0 };
    int rc;

    o.x.deadline_ns = wire_get(v);
    o.x.max_body_bytes = wire_get(v);
    o.x.idempotent = wire_get(v);
    o.dns_us = wire_get(v);
    o.limit_us = wire_get(v);
    o.x.url = wire_get_text(v);
    o.x.method = wire_get_text(v);
    o.x.idempotency_key = wire_get_text(v);
    o.pin = (char *)wire_get_text(v);
    o.headers.data = (char *)wire_get_bytes(v, &o.headers.n);
    o.x.body = wire_get_bytes(v, &o.x.body_bytes);
    rc = order_get_rules(v, &o);
    if (rc == 0 && (!o.x.url || !o.x.method))
        rc = -EPROTO;
    if (rc == 0)
        rc = wire_close(v);
    if (rc < 0) {
        egress_unref(o.rules);
        return rc;
    }
    *ret = o;
    return 0;
}
