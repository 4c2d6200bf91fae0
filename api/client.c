#include "api/client.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static uint64_t client_key(int fd, const struct sockaddr *address)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
    struct ucred peer = { .uid = UINT32_MAX };
    uint64_t network = 0;

    switch (address->sa_family) {
    case AF_INET:
        return in->sin_addr.s_addr;
    case AF_INET6:
        memcpy(&network, &in6->sin6_addr, sizeof(network));
        return network;
    default:
        /* Who can't be told apart shares. */
        (void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &(socklen_t){ sizeof(peer) });
        return peer.uid;
    }
}

static struct client *clients_find(const struct clients *c, uint64_t key, int family)
{
    for (struct table_node *n = table_first(&c->table, table_hash_int(key)); n; n = table_next(n)) {
        struct client *client = table_entry(n, struct client, node);

        if (client->key == key && client->family == family)
            return client;
    }
    return NULL;
}

const struct client *clients_find_full(
        const struct clients *c, int fd, const struct sockaddr *address)
{
    const struct client *client = clients_find(c, client_key(fd, address), address->sa_family);

    return client && client->n_connections >= c->max_connections ? client : NULL;
}

struct client *clients_enter(struct clients *c, int fd, const struct sockaddr *address)
{
    uint64_t key = client_key(fd, address);
    struct client *client = clients_find(c, key, address->sa_family);

    if (!client) {
        client = calloc(1, sizeof(*client));
        if (!client)
            return NULL;
        client->key = key;
        client->family = address->sa_family;
        if (table_add(&c->table, &client->node, table_hash_int(key)) < 0) {
            free(client);
            return NULL;
        }
    }
    client->n_connections++;
    return client;
}

void clients_leave(struct clients *c, struct client *client)
{
    if (--client->n_connections > 0)
        return;
    table_remove(&c->table, &client->node);
    free(client);
}
