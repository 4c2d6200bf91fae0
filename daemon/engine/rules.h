/* The making of struct service_rules (service.h). */
#pragma once

struct egress;
struct service_options;
struct service_rules;

/* References the egress rules. -ENOMEM. */
int service_rules_new(
        const struct service_options *options, struct egress *e, struct service_rules **ret);
