#include "tests/unit/api/fake_keys.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct fake_key {
    struct idempotency is;
    struct uuid7 id;
    struct list node;
};

enum submit_outcome fake_keys_look_up(
        const struct list *keys, const struct idempotency *is, struct uuid7 *ret)
{
    list_for_each (it, keys) {
        struct fake_key *k = list_entry(it, struct fake_key, node);

        if (memcmp(k->is.key, is->key, sizeof(is->key)) != 0)
            continue;
        if (memcmp(k->is.fingerprint, is->fingerprint, sizeof(is->fingerprint)) != 0)
            return SUBMIT_MISMATCHED;
        *ret = k->id;
        return SUBMIT_REPLAYED;
    }
    return SUBMIT_ACCEPTED;
}

void fake_keys_remember(struct list *keys, const struct idempotency *is, struct uuid7 id)
{
    struct fake_key *k = calloc(1, sizeof(*k));

    assert(k);
    k->is = *is;
    k->id = id;
    list_append(keys, &k->node);
}

void fake_keys_done(struct list *keys)
{
    struct list *node;

    while ((node = list_pop(keys)))
        free(list_entry(node, struct fake_key, node));
}
