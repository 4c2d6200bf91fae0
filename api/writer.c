#include "api/writer.h"

#include <stdio.h>
#include <string.h>

#include "api/fields.h"

static void writer_put(struct writer *w, const char *text, size_t n)
{
    if (w->rc == 0)
        w->rc = buf_append(w->out, text, n);
}

static void writer_put_value(struct writer *w, const char *text, size_t n)
{
    if (w->comma)
        writer_put(w, ",", 1);
    writer_put(w, text, n);
    w->comma = true;
}

void writer_open(struct writer *w, char bracket)
{
    writer_put_value(w, &bracket, 1);
    w->comma = false;
}

void writer_close(struct writer *w, char bracket)
{
    writer_put(w, &bracket, 1);
    w->comma = true;
}

void writer_key(struct writer *w, const char *key)
{
    writer_text(w, key);
    writer_put(w, ":", 1);
    w->comma = false;
}

void writer_null(struct writer *w)
{
    writer_put_value(w, "null", 4);
}

void writer_bool(struct writer *w, bool value)
{
    writer_put_value(w, value ? "true" : "false", value ? 4 : 5);
}

void writer_int(struct writer *w, int64_t value)
{
    char digits[24];

    writer_put_value(w, digits, (size_t)snprintf(digits, sizeof(digits), "%lld", (long long)value));
}

void writer_thousandths(struct writer *w, int64_t value)
{
    char digits[32];
    uint64_t size = value < 0 ? -(uint64_t)value : (uint64_t)value;
    int n = snprintf(digits, sizeof(digits), "%s%llu.%03llu", value < 0 ? "-" : "",
            (unsigned long long)(size / 1000), (unsigned long long)(size % 1000));

    while (digits[n - 1] == '0')
        n--;
    if (digits[n - 1] == '.')
        n--;
    writer_put_value(w, digits, (size_t)n);
}

static void writer_escape(struct writer *w, unsigned char c)
{
    static const char short_from[] = "\"\\\b\f\n\r\t", short_to[] = "\"\\bfnrt";
    const char *at = strchr(short_from, c);
    char text[8];

    if (c != 0 && at)
        writer_put(w, (char[]){ '\\', short_to[at - short_from] }, 2);
    else
        writer_put(w, text, (size_t)snprintf(text, sizeof(text), "\\u%04x", c));
}

void writer_string(struct writer *w, const char *text, size_t n)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t from = 0, length;

    writer_put_value(w, "\"", 1);
    for (size_t i = 0; i < n; i += length) {
        length = field_utf8_length(p + i, n - i);
        if (length > 1 || (length == 1 && p[i] >= 0x20 && p[i] != '"' && p[i] != '\\'))
            continue;
        writer_put(w, text + from, i - from);
        if (length == 0)
            writer_put(w, "\xef\xbf\xbd", 3);
        else
            writer_escape(w, p[i]);
        length = 1;
        from = i + 1;
    }
    writer_put(w, text + from, n - from);
    writer_put(w, "\"", 1);
}

void writer_text(struct writer *w, const char *text)
{
    if (text)
        writer_string(w, text, strlen(text));
    else
        writer_null(w);
}
