/* The handlers that the route table names. Each is a route_handler; see route.h. */
#pragma once

struct reply;
struct request;

int jobs_post(struct request *r, struct reply *reply);
int jobs_list(struct request *r, struct reply *reply);
int jobs_get(struct request *r, struct reply *reply);
int jobs_get_body(struct request *r, struct reply *reply);
int jobs_cancel(struct request *r, struct reply *reply);
int bulk_post(struct request *r, struct reply *reply);
int batches_post(struct request *r, struct reply *reply);
int batches_list(struct request *r, struct reply *reply);
int batches_get(struct request *r, struct reply *reply);
int batches_cancel(struct request *r, struct reply *reply);
int results_get(struct request *r, struct reply *reply);
int health_live(struct request *r, struct reply *reply);
int health_ready(struct request *r, struct reply *reply);
