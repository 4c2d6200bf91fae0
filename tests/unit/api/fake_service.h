/*
 * The service as the API sees it, in memory and without a network: tests of api/ link it in the place
 * of the engine. A fetch ends after FAKE_FETCH_MS with status 200 and the body "hello"; a delivery
 * without url when its wait is over. Names choose what goes wrong: see fake_service.c.
 */
#pragma once

#include "daemon/engine/service.h"

#define FAKE_FETCH_MS 2

struct service *fake_service_new(int bodies_fd);
void fake_service_free(struct service *s);
