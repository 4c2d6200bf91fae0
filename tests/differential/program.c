/* Lines of words: `delay policy extra verb arguments…`, all numbers but policy and verb. */
#include "tests/differential/program.h"

#include <stdlib.h>
#include <string.h>

#define LINE_SIZE 512
#define DEPTH_MAX 16

_Noreturn static void refuse(const char *line)
{
    fprintf(stderr, "no such line in a program: %s\n", line);
    exit(2);
}

static int words_read(const char *text, int64_t *ret_words, int max)
{
    char *rest;
    int n = 0;

    for (; n < max; n++, text = rest) {
        ret_words[n] = strtoll(text, &rest, 10);
        if (rest == text)
            break;
    }
    return n;
}

static void op_read(struct op *op, const char *line)
{
    char verb[32];
    int used = 0;

    if (sscanf(line, "%ld %c %ld %31s%n", &op->delay_us, &op->policy, &op->extra_us, verb, &used) !=
            4)
        refuse(line);
    op->run = op_find(verb, &op->verb);
    if (!op->run)
        refuse(line);
    op->n_args = words_read(line + used, op->args, ARGS_MAX);
}

/* Each block finds its end. */
static void spec_match(struct spec *s)
{
    int open[DEPTH_MAX], n = 0;

    for (int i = 0; i < s->n_ops; i++) {
        s->ops[i].end = i;
        if (strcmp(s->ops[i].verb, "end") == 0) {
            if (n == 0)
                refuse("end");
            s->ops[open[--n]].end = i;
        } else if (strchr("TSGLP", s->ops[i].verb[0])) {
            if (n == DEPTH_MAX)
                refuse("too deep");
            open[n++] = i;
        }
    }
    if (n > 0)
        refuse("a block without end");
}

static void line_read(struct program *p, const char *line)
{
    struct spec *s = p->n_specs ? &p->specs[p->n_specs - 1] : NULL;
    int64_t words[3];

    if (strncmp(line, "program ", 8) == 0)
        return;
    if (strncmp(line, "gates ", 6) == 0) {
        p->n_gates = words_read(line + 6, p->permits, 4);
    } else if (strncmp(line, "queues ", 7) == 0) {
        p->n_channels = words_read(line + 7, p->capacities, 4);
    } else if (strncmp(line, "cyclic ", 7) == 0) {
        words_read(line + 7, &p->cyclic, 1);
    } else if (strncmp(line, "horizon ", 8) == 0) {
        words_read(line + 8, &p->horizon_us, 1);
    } else if (strncmp(line, "task ", 5) == 0) {
        if (p->n_specs == TASKS_MAX || words_read(line + 5, words, 3) != 3)
            refuse(line);
        s = &p->specs[p->n_specs++];
        memset(s, 0, sizeof(*s)); /* too large to be assigned by way of the stack */
        s->id = (int)words[0];
        s->end_us = words[1];
        s->result = (int)words[2];
    } else {
        if (!s || s->n_ops == OPS_MAX)
            refuse(line);
        s->ops[s->n_ops] = (struct op){ .line = s->n_ops };
        op_read(&s->ops[s->n_ops], line);
        s->n_ops++;
    }
}

bool program_read(struct program *p, FILE *f)
{
    char line[LINE_SIZE];

    p->n_specs = 0;
    while (fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = 0;
        if (strcmp(line, "run") == 0) {
            for (int i = 0; i < p->n_specs; i++)
                spec_match(&p->specs[i]);
            return true;
        }
        line_read(p, line);
    }
    return false;
}
