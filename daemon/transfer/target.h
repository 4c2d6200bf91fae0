/* Host and port of a canonical URL, without an allocation. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct target {
    char host[254]; /* without brackets */
    uint16_t port;
    bool https;
    bool literal; /* the host is an address */
};

/* -EINVAL for whatever egress_url_parse() would not have written. */
int target_parse(const char *url, struct target *ret);
