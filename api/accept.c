#include "api/accept.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#define QUALITY_MAX 1000

enum match { MATCH_NONE, MATCH_ALL, MATCH_FAMILY, MATCH_TYPE };

static enum match range_match(const char *range, size_t n, const char *type)
{
    size_t family_n = strcspn(type, "/") + 1;

    if (n == strlen(type) && strncasecmp(range, type, n) == 0)
        return MATCH_TYPE;
    if (n == family_n + 1 && strncasecmp(range, type, family_n) == 0 && range[n - 1] == '*')
        return MATCH_FAMILY;
    return n == 3 && strncmp(range, "*/*", n) == 0 ? MATCH_ALL : MATCH_NONE;
}

/* The q of the parameters at `p`, in thousandths; QUALITY_MAX without one. */
static int range_quality(const char *p)
{
    int quality = 0, unit = QUALITY_MAX;

    while (*p == ';') {
        p += 1 + strspn(p + 1, " \t");
        if ((*p == 'q' || *p == 'Q') && p[1] == '=') {
            for (p += 2; unit > 0 && ((*p >= '0' && *p <= '9') || *p == '.'); p++)
                if (*p != '.') {
                    quality += (*p - '0') * unit;
                    unit /= 10;
                }
            return quality < QUALITY_MAX ? quality : QUALITY_MAX;
        }
        p += strcspn(p, ";,");
    }
    return QUALITY_MAX;
}

/* What the most specific range that matches says. */
static int accept_quality(const char *accept, const char *type)
{
    enum match best = MATCH_NONE;
    int quality = 0;

    for (const char *p = accept; *p; p += *p == ',') {
        size_t n;
        enum match match;

        p += strspn(p, " \t");
        n = strcspn(p, ";, \t");
        match = range_match(p, n, type);
        p += n;
        p += strspn(p, " \t");
        if (match > best) {
            best = match;
            quality = range_quality(p);
        }
        p += strcspn(p, ",");
    }
    return quality;
}

bool accept_prefers(const char *accept, const char *type, const char *usual)
{
    return accept && accept_quality(accept, type) > accept_quality(accept, usual);
}
