/* A directory with a configuration in it, for one test. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"

struct place {
    char directory[64];
    char path[128]; /* of baedald.conf */
    char drop_ins[160];
    char *errors; /* of the last load, with the directory cut out */
};

int place_setup(void **state);
int place_teardown(void **state);
#define PLACE_TEST(test) cmocka_unit_test_setup_teardown(test, place_setup, place_teardown)

void place_write(struct place *p, const char *text);
void place_write_drop_in(struct place *p, const char *name, const char *text);
int place_load(struct place *p, struct config *ret);
void place_load_good(struct place *p, struct config *ret);
void place_expect_errors(struct place *p, const char *text, int n, const char *errors);
/* With the directory cut out; the caller's. */
char *place_dump(const struct place *p, const struct config *c);
