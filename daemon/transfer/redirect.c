#include "daemon/transfer/redirect.h"

#include <curl/curl.h>
#include <string.h>

#include "daemon/base/cleanup.h"

CLEANUP_DEFINE(CURLU, curl_url_cleanup, cleanup_curl_url)

/* libcurl (7.88) appends a reference that is a query alone to the query of the base. */
char *redirect_resolve(const char *base, const char *reference)
{
    CURLU *curl CLEANUP(cleanup_curl_url) = curl_url();
    CURLUcode code;
    char *text, *ret;

    if (!curl)
        return NULL;
    if (!*reference || *reference == '#')
        return strdup(base);
    code = curl_url_set(curl, CURLUPART_URL, base, 0);
    if (code == CURLUE_OK)
        code = curl_url_set(curl, CURLUPART_QUERY, NULL, 0);
    if (code == CURLUE_OK)
        code = curl_url_set(curl, CURLUPART_URL, reference, CURLU_NON_SUPPORT_SCHEME);
    if (code == CURLUE_OK)
        code = curl_url_get(curl, CURLUPART_URL, &text, 0);
    if (code == CURLUE_OUT_OF_MEMORY)
        return NULL;
    if (code != CURLUE_OK)
        return strdup(reference);
    ret = strdup(text);
    curl_free(text);
    return ret;
}
