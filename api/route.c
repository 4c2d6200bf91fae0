#include "api/route.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/handlers.h"
#include "daemon/base/cleanup.h"

#define PARAMETERS(...)   \
    (const char *const[]) \
    {                     \
        __VA_ARGS__, NULL \
    }

static const struct route routes[] = {
    { "GET", "/livez", health_live },
    { "GET", "/readyz", health_ready },
    { "POST", "/v1/jobs", jobs_post, .handle_lines = bulk_post, .json = true,
            .parameters = PARAMETERS("wait", "body") },
    { "GET", "/v1/jobs", jobs_list,
            .parameters = PARAMETERS(
                    "state", "kind", "batch", "lane", "label", "limit", "cursor", "full") },
    { "GET", "/v1/jobs/{id}", jobs_get, .parameters = PARAMETERS("wait", "body") },
    { "GET", "/v1/jobs/{id}/body", jobs_get_body, .parameters = PARAMETERS("step") },
    { "POST", "/v1/jobs/{id}/cancel", jobs_cancel },
    { "POST", "/v1/batches", batches_post, .json = true, .parameters = PARAMETERS("wait") },
    { "GET", "/v1/batches", batches_list, .parameters = PARAMETERS("limit", "cursor") },
    { "GET", "/v1/batches/{id}", batches_get, .parameters = PARAMETERS("wait") },
    { "POST", "/v1/batches/{id}/cancel", batches_cancel },
    { "GET", "/v1/batches/{id}/results", results_get, .parameters = PARAMETERS("after") },
    { "GET", "/v1/tasks", tasks_get },
    { "POST", "/v1/admin/backup", admin_backup },
};

static bool path_matches(
        const char *pattern, const char *path, const char **ret_id, size_t *ret_id_n)
{
    const char *hole = strstr(pattern, "{id}");
    size_t before;

    *ret_id = NULL;
    if (!hole)
        return strcmp(pattern, path) == 0;
    before = (size_t)(hole - pattern);
    if (strncmp(pattern, path, before) != 0)
        return false;
    *ret_id_n = strcspn(path + before, "/");
    if (*ret_id_n == 0 || strcmp(hole + 4, path + before + *ret_id_n) != 0)
        return false;
    *ret_id = path + before;
    return true;
}

static void allow(char text[ROUTE_ALLOW_SIZE], const char *method)
{
    size_t n = strlen(text);

    snprintf(text + n, ROUTE_ALLOW_SIZE - n, "%s%s%s", n ? ", " : "", method,
            strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

int route_find(const char *method, const char *path, const struct route **ret, const char **ret_id,
        size_t *ret_id_n, char ret_allow[ROUTE_ALLOW_SIZE])
{
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    bool found = false;

    ret_allow[0] = 0;
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (!path_matches(routes[i].path, path, ret_id, ret_id_n))
            continue;
        if (strcmp(routes[i].method, wanted) == 0) {
            *ret = &routes[i];
            return 0;
        }
        found = true;
        allow(ret_allow, routes[i].method);
    }
    return found ? -EPERM : -ENOENT;
}
