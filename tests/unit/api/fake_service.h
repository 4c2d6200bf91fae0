/*
 * The service as the API sees it, in memory and without a network: tests of api/ link it in the place
 * of the engine. A fetch ends after FAKE_FETCH_MS with status 200 and the body "hello"; a delivery
 * without url when its wait is over. The name of the first job chooses what goes wrong with a submit: "disk full",
 * "queue full", "too many origins", "shutting down"; a repeat of one named "forgotten" finds it gone.
 * The second backup finds the disk full.
 */
#pragma once

#include "daemon/engine/service.h"

#define FAKE_FETCH_MS  2
#define FAKE_BACKUP_MS 300

struct service *fake_service_new(int bodies_fd);
void fake_service_free(struct service *s);
