/* An HTTP server on a loopback port that misbehaves by path, a thread for each connection. */
#pragma once

#include <stdint.h>

struct web_server;

struct web_server *web_server_start(void);
/* Closes what is open and joins. */
void web_server_stop(struct web_server *s);
uint16_t web_server_port(const struct web_server *s);
/* Requests that arrived whole, and connections that were accepted. */
unsigned web_server_requests(struct web_server *s);
unsigned web_server_connections(struct web_server *s);
/* Blocks until that many requests have arrived. */
void web_server_await(struct web_server *s, unsigned requests);
/* Blocks until at most that many connections are open. */
void web_server_await_open(struct web_server *s, unsigned most);
/* Lets the connections of /twice give their second answer, and blocks until the client ended one. */
void web_server_answer_again(struct web_server *s);
/* The same, and blocks only until it is sent. */
void web_server_send_again(struct web_server *s);
/* The last request as it was sent; the caller's to free. */
char *web_server_last(struct web_server *s);
