#include "api/shape.h"

#include <errno.h>
#include <string.h>

#include "api/fields.h"

#define SHAPE_FLAGS (JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15))

static size_t valid_length(const char *text, size_t n)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t i = 0, length;

    while (i < n && (length = field_utf8_length(p + i, n - i)) > 0)
        i += length;
    return i;
}

static int repair(const char *text, size_t n, struct buf *out)
{
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        size_t valid = valid_length(text + i, n - i);

        rc = buf_append(out, text + i, valid);
        i += valid;
        if (rc == 0 && i < n)
            rc = buf_append(out, "\xef\xbf\xbd", 3);
    }
    return rc;
}

json_t *shape_string(const char *text, size_t n)
{
    struct buf repaired = { 0 };
    json_t *value = NULL;

    if (valid_length(text, n) == n)
        return json_stringn_nocheck(text, n);
    if (repair(text, n, &repaired) == 0)
        value = json_stringn_nocheck(repaired.data, repaired.n);
    buf_done(&repaired);
    return value;
}

json_t *shape_text(const char *text)
{
    return text ? shape_string(text, strlen(text)) : json_null();
}

json_t *shape_thousandths(int64_t value)
{
    return json_real((double)value / 1000.0);
}

static void shape_drop(json_t **container)
{
    json_decref(*container);
    *container = NULL;
}

void shape_set(json_t **object, const char *key, json_t *value)
{
    size_t n = strlen(key);
    int rc;

    if (valid_length(key, n) == n) {
        rc = json_object_set_new_nocheck(*object, key, value);
    } else {
        struct buf repaired = { 0 };

        rc = repair(key, n, &repaired);
        if (rc == 0)
            rc = buf_append(&repaired, "", 1);
        if (rc == 0)
            rc = json_object_set_new_nocheck(*object, repaired.data, value);
        else
            json_decref(value);
        buf_done(&repaired);
    }
    if (rc < 0)
        shape_drop(object);
}

void shape_push(json_t **array, json_t *value)
{
    if (json_array_append_new(*array, value) < 0)
        shape_drop(array);
}

static int append_piece(const char *text, size_t n, void *out)
{
    return buf_append(out, text, n);
}

int shape_write(const json_t *value, struct buf *out)
{
    size_t before = out->n;

    if (value && json_dump_callback(value, append_piece, out, SHAPE_FLAGS) == 0)
        return 0;
    out->n = before;
    return -ENOMEM;
}

int shape_write_line(json_t *value, struct buf *out)
{
    int rc = shape_write(value, out);

    json_decref(value);
    return rc < 0 ? rc : buf_append(out, "\n", 1);
}
