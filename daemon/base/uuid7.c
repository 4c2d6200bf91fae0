#include "daemon/base/uuid7.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/base/cleanup.h"

#define TAIL_MASK ((1ULL << 62) - 1)

int uuid7_next(struct uuid7_source *s, int64_t now_us, struct uuid7 *ret)
{
    int64_t key = (now_us / 1000) << 12;

    if (s->n_random == 0) {
        ssize_t n = getrandom(s->random, sizeof(s->random), 0);

        if (n != (ssize_t)sizeof(s->random))
            return n < 0 ? -errno : -EIO;
        s->n_random = ARRAY_LEN(s->random);
    }
    if (key <= s->last_key)
        key = s->last_key + 1;
    s->last_key = key;
    *ret = (struct uuid7){ .key = key, .tail = (int64_t)(s->random[--s->n_random] & TAIL_MASK) };
    return 0;
}

/* The lowest 16 bits. */
static void uuid7_put(char *at, uint64_t value)
{
    static const char digits[] = "0123456789abcdef";

    at[0] = digits[value >> 12 & 15];
    at[1] = digits[value >> 8 & 15];
    at[2] = digits[value >> 4 & 15];
    at[3] = digits[value & 15];
}

void uuid7_format(struct uuid7 id, char text[UUID7_TEXT_SIZE])
{
    uint64_t ms = (uint64_t)id.key >> 12, tail = (uint64_t)id.tail;

    uuid7_put(text, ms >> 32);
    uuid7_put(text + 4, ms >> 16);
    text[8] = '-';
    uuid7_put(text + 9, ms);
    text[13] = '-';
    uuid7_put(text + 14, 0x7000 | ((uint64_t)id.key & 0xfff));
    text[18] = '-';
    uuid7_put(text + 19, 0x8000 | tail >> 48);
    text[23] = '-';
    uuid7_put(text + 24, tail >> 32);
    uuid7_put(text + 28, tail >> 16);
    uuid7_put(text + 32, tail);
    text[36] = 0;
}

int64_t uuid7_first_key(int64_t at_us)
{
    return at_us / 1000 * 4096;
}

static int uuid7_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int uuid7_parse(const char *text, struct uuid7 *ret)
{
    uint64_t words[2] = { 0, 0 };
    size_t n = 0;

    if (strlen(text) != UUID7_TEXT_SIZE - 1)
        return -EINVAL;
    for (size_t i = 0; i < UUID7_TEXT_SIZE - 1; i++) {
        int digit = uuid7_digit(text[i]);

        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i] != '-')
                return -EINVAL;
            continue;
        }
        if (digit < 0)
            return -EINVAL;
        words[n / 16] = words[n / 16] << 4 | (unsigned)digit;
        n++;
    }
    if ((words[0] >> 12 & 15) != 7 || words[1] >> 62 != 2)
        return -EINVAL;
    *ret = (struct uuid7){ .key = (int64_t)((words[0] >> 16) << 12 | (words[0] & 0xfff)),
        .tail = (int64_t)(words[1] & TAIL_MASK) };
    return ret->key > 0 ? 0 : -EINVAL;
}
