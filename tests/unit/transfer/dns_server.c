#include "dns_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define TYPE_A    1
#define TYPE_AAAA 28
#define COUNTED   64

struct dns_server {
    const struct dns_record *script;
    pthread_t thread;
    pthread_mutex_t mutex;
    int fd;
    char address[32];
    struct {
        char name[256];
        unsigned n;
    } asked[COUNTED];
};

static void count(struct dns_server *s, const char *name)
{
    pthread_mutex_lock(&s->mutex);
    for (int i = 0; i < COUNTED; i++)
        if (!s->asked[i].name[0] || strcasecmp(s->asked[i].name, name) == 0) {
            strcpy(s->asked[i].name, name);
            s->asked[i].n++;
            break;
        }
    pthread_mutex_unlock(&s->mutex);
}

unsigned dns_server_questions(struct dns_server *s, const char *name)
{
    unsigned n = 0;

    pthread_mutex_lock(&s->mutex);
    for (int i = 0; i < COUNTED; i++)
        if (strcasecmp(s->asked[i].name, name) == 0)
            n = s->asked[i].n;
    pthread_mutex_unlock(&s->mutex);
    return n;
}

/* The end of the question, its name as text. */
static size_t read_question(const uint8_t *packet, size_t n, char name[256], unsigned *ret_type)
{
    size_t at = 12, out = 0;

    while (at < n && packet[at]) {
        size_t label = packet[at++];

        assert(label < 64 && at + label < n && out + label + 2 < 256);
        memcpy(name + out, packet + at, label);
        at += label;
        out += label;
        name[out++] = '.';
    }
    name[out ? out - 1 : 0] = '\0';
    *ret_type = (unsigned)packet[at + 1] << 8 | packet[at + 2];
    return at + 5;
}

static const struct dns_record *find(const struct dns_server *s, const char *name)
{
    static const struct dns_record many = { "*.many", "127.0.0.1", 30, 0, 0 };
    static const struct dns_record none = { "", "", 0, 3, 0 };
    size_t n = strlen(name);

    for (const struct dns_record *r = s->script; r->name; r++)
        if (strcasecmp(r->name, name) == 0)
            return r;
    return n > 5 && strcasecmp(name + n - 5, ".many") == 0 ? &many : &none;
}

static size_t add_address(uint8_t *out, const char *text, unsigned type, unsigned ttl)
{
    uint8_t bytes[16];
    size_t n = type == TYPE_A ? 4 : 16;
    const uint8_t head[12] = { 0xc0, 12, 0, (uint8_t)type, 0, 1, (uint8_t)(ttl >> 24),
        (uint8_t)(ttl >> 16), (uint8_t)(ttl >> 8), (uint8_t)ttl, 0, (uint8_t)n };

    if (inet_pton(type == TYPE_A ? AF_INET : AF_INET6, text, bytes) != 1)
        return 0;
    memcpy(out, head, sizeof(head));
    memcpy(out + sizeof(head), bytes, n);
    return sizeof(head) + n;
}

static size_t answer(const struct dns_record *r, unsigned type, uint8_t *packet, size_t n)
{
    char addresses[1024], *save = NULL;
    unsigned answers = 0;

    packet[2] = 0x85;
    packet[3] = (uint8_t)(0x80 | r->rcode);
    memset(packet + 8, 0, 4);
    snprintf(addresses, sizeof(addresses), "%s", r->rcode ? "" : r->addresses);
    for (char *p = strtok_r(addresses, " ", &save); p; p = strtok_r(NULL, " ", &save)) {
        size_t added = add_address(packet + n, p, type, r->ttl);

        answers += added > 0;
        n += added;
    }
    packet[6] = 0;
    packet[7] = (uint8_t)answers;
    return n;
}

static void *serve(void *arg)
{
    struct dns_server *s = arg;
    struct sockaddr_in from;
    socklen_t from_size = sizeof(from);
    uint8_t packet[4096];
    ssize_t n;

    /* An empty packet ends it. */
    while ((n = recvfrom(s->fd, packet, 512, 0, (struct sockaddr *)&from, &from_size)) > 0) {
        const struct dns_record *r;
        char name[256];
        unsigned type;
        size_t end;

        if (n < 17)
            continue;
        end = read_question(packet, (size_t)n, name, &type);
        count(s, name);
        r = find(s, name);
        if (!r->silent) {
            end = answer(r, type, packet, end);
            sendto(s->fd, packet, end, 0, (struct sockaddr *)&from, from_size);
        }
        from_size = sizeof(from);
    }
    return NULL;
}

struct dns_server *dns_server_start(const struct dns_record *script)
{
    struct dns_server *s = calloc(1, sizeof(*s));
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(a);
    int room = 4 * 1024 * 1024, rc;

    assert(s);
    s->script = script;
    pthread_mutex_init(&s->mutex, NULL);
    s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    rc = bind(s->fd, (struct sockaddr *)&a, sizeof(a));
    assert(rc == 0);
    setsockopt(s->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
    getsockname(s->fd, (struct sockaddr *)&a, &size);
    snprintf(s->address, sizeof(s->address), "127.0.0.1:%u", ntohs(a.sin_port));
    rc = pthread_create(&s->thread, NULL, serve, s);
    assert(rc == 0);
    (void)rc;
    return s;
}

void dns_server_stop(struct dns_server *s)
{
    struct sockaddr_in a;
    socklen_t size = sizeof(a);

    getsockname(s->fd, (struct sockaddr *)&a, &size);
    sendto(s->fd, "", 0, 0, (struct sockaddr *)&a, size);
    pthread_join(s->thread, NULL);
    close(s->fd);
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

const char *dns_server_address(const struct dns_server *s)
{
    return s->address;
}
