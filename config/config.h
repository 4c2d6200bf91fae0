/*
 * The configuration: /etc/baedald/baedald.conf, then baedald.conf.d/ beside it by name
 * (DESIGN section 9). Declarative tables give each key's type, unit, range and default; every
 * mistake is reported with file and line, not only the first.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "api/server.h"
#include "daemon/base/error.h"
#include "daemon/base/log.h"
#include "daemon/engine/service.h"
#include "daemon/store/store.h"
#include "daemon/transfer/egress.h"
#include "daemon/transfer/transfer.h"

#define CONFIG_DEFAULT_PATH "/etc/baedald/baedald.conf"

struct config {
    struct api_options api;
    struct store_options store;
    struct transfer_options transfer; /* body_directory_fd is main's to set */
    struct service_options service;
    struct egress_options egress;
    struct log_options log;
    int64_t drain_timeout_us;
    struct config_memory *memory; /* what the strings above point into */
};

/*
 * Reads `path` and its drop-ins, `path`.d/ *.conf by name. NULL: CONFIG_DEFAULT_PATH, which need
 * not exist. Prints each mistake to `errors` as `file:line: what is wrong` and returns their
 * number; 0: *ret is filled (config_done() frees it). -errno when memory fails.
 */
int config_load(const char *path, FILE *errors, struct config *ret);
void config_done(struct config *c);
/* Every value with where it comes from, in the syntax of the file. */
void config_dump(const struct config *c, FILE *out);
/* Names the keys that differ and need a restart, one line each, by `report`; the number of them. */
int config_needs_restart(const struct config *old, const struct config *fresh,
        void (*report)(const char *key, void *arg), void *arg);
