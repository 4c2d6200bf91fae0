/* The header of a request, as libcurl takes it. */
#pragma once

#include <curl/curl.h>

struct exchange;

/* One block to free(3), or NULL in *ret when the job asks for nothing: lines_default() then. -ENOMEM. */
int lines_new(const struct exchange *x, struct curl_slist **ret);
struct curl_slist *lines_default(void);
