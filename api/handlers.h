/* The handlers that the route table names. Each is a route_handler; see route.h. */
#pragma once

#include "daemon/co/suspends.h"

struct reply;
struct request;

CO_SUSPENDS int jobs_post(struct request *r, struct reply *reply);
CO_SUSPENDS int jobs_list(struct request *r, struct reply *reply);
CO_SUSPENDS int jobs_get(struct request *r, struct reply *reply);
CO_SUSPENDS int jobs_get_body(struct request *r, struct reply *reply);
CO_SUSPENDS int jobs_cancel(struct request *r, struct reply *reply);
CO_SUSPENDS int bulk_post(struct request *r, struct reply *reply);
CO_SUSPENDS int batches_post(struct request *r, struct reply *reply);
CO_SUSPENDS int batches_list(struct request *r, struct reply *reply);
CO_SUSPENDS int batches_get(struct request *r, struct reply *reply);
CO_SUSPENDS int batches_cancel(struct request *r, struct reply *reply);
CO_SUSPENDS int results_get(struct request *r, struct reply *reply);
CO_SUSPENDS int tasks_get(struct request *r, struct reply *reply);
CO_SUSPENDS int admin_backup(struct request *r, struct reply *reply);
int health_live(struct request *r, struct reply *reply);
int health_ready(struct request *r, struct reply *reply);
