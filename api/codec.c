/*
 * Text to a jansson object, and the readers of single values. Depth is checked before jansson sees
 * the text, because its parser takes stack for each level.
 */
#include "api/codec.h"

#include <errno.h>
#include <string.h>

#include "api/codec_json.h"
#include "api/fields.h"

/* Line and column, from 1, of the byte at `i`. */
static void text_position(const char *text, size_t i, int *ret_line, int *ret_column)
{
    int line = 1;
    size_t start = 0;

    for (size_t k = 0; k < i; k++)
        if (text[k] == '\n') {
            line++;
            start = k + 1;
        }
    *ret_line = line;
    *ret_column = (int)(i - start) + 1;
}

/* Where the string ends whose opening quote is at `i`: at its closing quote, or past the text. */
static size_t string_end(const char *text, size_t n, size_t i)
{
    for (i++; i < n && text[i] != '"'; i++)
        if (text[i] == '\\')
            i++;
    return i;
}

static int check_depth(const char *text, size_t n, struct faults *faults)
{
    unsigned depth = 0;

    for (size_t i = 0; i < n; i++) {
        char c = text[i];

        if (c == '"') {
            i = string_end(text, n, i);
        } else if (c == '{' || c == '[') {
            if (++depth > CODEC_DEPTH_MAX) {
                int line, column;

                text_position(text, i, &line, &column);
                faults_syntax(
                        faults, line, column, "nested deeper than %d levels", CODEC_DEPTH_MAX);
                return -EBADMSG;
            }
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return 0;
}

int codec_load_object(const char *text, size_t n, json_t **ret, struct faults *faults)
{
    struct place root = { 0 };
    json_error_t error;
    json_t *root_json;
    int rc = check_depth(text, n, faults);

    if (rc < 0)
        return rc;
    if (n == 0) {
        faults_syntax(faults, 1, 1, "the text is empty");
        return -EBADMSG;
    }
    root_json =
            json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (!root_json) {
        if (json_error_code(&error) == json_error_out_of_memory)
            return -ENOMEM;
        faults_syntax(faults, error.line, error.column > 0 ? error.column : 1, "%s", error.text);
        return -EBADMSG;
    }
    if (!json_is_object(root_json)) {
        faults_at(faults, &root, "must be a JSON object");
        json_decref(root_json);
        return -EINVAL;
    }
    *ret = root_json;
    return 0;
}

void codec_sort_keys(json_t *object, const struct place *at, const struct codec_key *keys, size_t n,
        json_t **values, struct faults *faults)
{
    const char *key;
    json_t *value;

    json_object_foreach (object, key, value) {
        struct place here = { .parent = at, .key = key };
        size_t i = 0;

        while (i < n && strcmp(keys[i].name, key) != 0)
            i++;
        if (i < n)
            values[i] = value;
        else
            faults_at(faults, &here, "unknown key");
    }
}

bool codec_is_text(json_t *value)
{
    return json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value);
}

bool codec_duration(json_t *value, const struct place *at, int64_t *ret_us, struct faults *faults)
{
    int rc = -EINVAL;

    if (json_is_number(value))
        rc = field_duration_seconds(json_number_value(value), ret_us);
    else if (codec_is_text(value))
        rc = field_duration(json_string_value(value), ret_us);
    if (rc == -ERANGE)
        faults_at(faults, at, "must be at most ten years");
    else if (rc < 0)
        faults_at(faults, at,
                "must be a duration: a number of seconds, or text like \"250ms\", \"10s\", "
                "\"5min\", \"2h\", \"1d\"");
    return rc == 0;
}

bool codec_size(json_t *value, const struct place *at, int64_t *ret_bytes, struct faults *faults)
{
    int rc = -EINVAL;

    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *ret_bytes = json_integer_value(value);
        rc = 0;
    } else if (codec_is_text(value)) {
        rc = field_size(json_string_value(value), ret_bytes);
    }
    if (rc < 0)
        faults_at(faults, at,
                "must be a size: a number of bytes, or text like \"64KiB\" or \"1MiB\"");
    return rc == 0;
}

bool codec_integer(json_t *value, const struct place *at, int64_t least, int64_t most, int64_t *ret,
        struct faults *faults)
{
    if (!json_is_integer(value) || json_integer_value(value) < least ||
            json_integer_value(value) > most) {
        faults_at(faults, at, "must be an integer from %lld to %lld", (long long)least,
                (long long)most);
        return false;
    }
    *ret = json_integer_value(value);
    return true;
}

bool codec_string(json_t *value, const struct place *at, const char **ret, struct faults *faults)
{
    if (!json_is_string(value)) {
        faults_at(faults, at, "must be a string");
        return false;
    }
    if (!codec_is_text(value)) {
        faults_at(faults, at, "must not contain NUL");
        return false;
    }
    *ret = json_string_value(value);
    return true;
}

bool codec_bool(json_t *value, const struct place *at, bool *ret, struct faults *faults)
{
    if (!json_is_boolean(value)) {
        faults_at(faults, at, "must be true or false");
        return false;
    }
    *ret = json_is_true(value);
    return true;
}
