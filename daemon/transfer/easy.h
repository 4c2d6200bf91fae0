/*
 * A libcurl easy handle with the daemon's option set, used for one exchange after another. What is
 * set once never varies; what varies is set for every exchange, so nothing leaks between jobs.
 */
#pragma once

#include <curl/curl.h>

#include "daemon/base/list.h"

struct flight;
struct socket_home;

struct easy {
    struct list idle; /* in the pump's pool */
    CURL *curl;
    CURLU *origin; /* of the exchange's URL */
    struct socket_home *sockets;
    struct flight *flight;    /* NULL: idle */
    struct curl_slist *lines; /* of the request's header, in one block; NULL: the default ones */
    struct curl_slist pin;
    char text[CURL_ERROR_SIZE];
};

/* NULL: no memory. What it is given outlives it; `sockets` the connections, too. `share`: of the
 * handles of a thread, or NULL. */
struct easy *easy_new(struct socket_home *sockets, CURLSH *share, int64_t connect_timeout_us);
/* The certificates of the authorities, in PEM, instead of those in the file that libcurl knows. Not copied. */
void easy_set_authorities(struct easy *e, const void *pem, size_t n);
void easy_free(struct easy *e);
/* Makes it ready for the exchange, which ends in `left_us`. `forget_names` once in a while. -ENOMEM. */
int easy_prepare(struct easy *e, struct flight *f, int64_t left_us, bool forget_names);
/* After libcurl is done with it: the flight's answer is filled in, and the handle is idle. */
void easy_conclude(struct easy *e, CURLcode code);
