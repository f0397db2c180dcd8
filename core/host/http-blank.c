/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may be seen of a request and of a reply.
 *
 * Blanked are values whose name says that they are secret, in JSON members, form fields, XML elements,
 * query parameters and headers; and the session's own secrets wherever they stand. A name is taken for
 * secret rather too often than too seldom: a recording lies about, and travels.
 */
#include "host/http-tape.h"

#include <ctype.h>
#include <openssl/evp.h>

enum { SHORTEST = 4 };

int http_ids_init(struct http_ids *i)
{
        *i = (struct http_ids){json_object(), json_object()};
        return i->by_id && i->by_name ? 0 : error_origin(-ENOMEM);
}

void http_ids_deinit(struct http_ids *i)
{
        json_decref(i->by_id);
        json_decref(i->by_name);
        *i = (struct http_ids){0};
}

bool http_is_id(const char *text, size_t n)
{
        static const char letters[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

        if (n < HTTP_ID)
                return false;
        for (size_t i = 0; i < HTTP_ID; i++)
                if (!text[i] || !strchr(letters, text[i]))
                        return false;
        return true;
}

const char *http_ids_name(struct http_ids *i, const char *id)
{
        const char *name = id ? json_get_string(i->by_id, id, NULL) : NULL;
        char text[32];

        if (name || !id || strlen(id) != HTTP_ID || !http_is_id(id, HTTP_ID))
                return name;
        snprintf(text, sizeof(text), "id_%zu", json_object_size(i->by_id) + 1);
        if (json_object_set_new(i->by_id, id, json_string(text)) < 0 ||
            json_object_set_new(i->by_name, text, json_string(id)) < 0)
                return NULL;
        return json_get_string(i->by_id, id, NULL);
}

/* "SecretAccessKey", "secret_access_key" and "secret-access-key" are one name. */
static bool is_secret_name(const char *name, size_t n)
{
        static const char *const names[] = {
                "password", "passwd", "passphrase", "pwd", "token", "accesstoken", "refreshtoken",
                "idtoken", "authtoken", "bearertoken", "sessiontoken", "securitytoken",
                "webidentitytoken", "xamzsecuritytoken", "xauthtoken", "secret", "clientsecret",
                "secretkey", "secretaccesskey", "apikey", "xapikey", "privatekey", "keymaterial",
                "sshprivatekey", "authorization", "proxyauthorization", "cookie", "setcookie",
                "xawsec2metadatatoken", "samlassertion", "signature", "xamzsignature", "plaintext",
                "rootpassword", "adminpassword", "userpassword", "credentials",
        };
        char plain[64];
        size_t k = 0;

        for (size_t i = 0; i < n && k < sizeof(plain); i++)
                if (name[i] != '_' && name[i] != '-' && name[i] != ' ')
                        plain[k++] = (char)tolower((uint8_t)name[i]);
        for (size_t i = 0; i < N_ELEMENTS(names) && k < sizeof(plain); i++)
                if (strlen(names[i]) == k && memcmp(names[i], plain, k) == 0)
                        return true;
        return false;
}

/* Length of the secret that text begins with, or 0. */
static size_t secret_at(const struct http_blank *b, const char *text, size_t n)
{
        for (size_t i = 0; b->credentials && i < HTTP_SECRETS; i++) {
                const struct locked *s = &b->credentials->secret[i];

                /* A user's name or the id of a key is no secret. */
                if (i == 0 && b->session && b->session->auth != HTTP_AUTH_BEARER)
                        continue;
                if (s->n >= SHORTEST && s->n <= n && memcmp(text, s->data, s->n) == 0)
                        return s->n;
        }
        for (const struct http_given *g = b->session ? b->session->given : NULL; g; g = g->next)
                if (g->value.n >= SHORTEST && g->value.n <= n &&
                    memcmp(text, g->value.data, g->value.n) == 0)
                        return g->value.n;
        return 0;
}

/* The name of the id that stands at text[at], or NULL. One that is to be learned stands alone, if need be
 * behind an escape (%3D), and begins as 128 bits do. */
static const char *id_at(const struct http_blank *b, const char *text, size_t at, size_t n)
{
        char id[HTTP_ID + 1];
        bool alone;

        if (!b->ids || !http_is_id(text + at, n - at))
                return NULL;
        memcpy(id, text + at, HTTP_ID);
        id[HTTP_ID] = 0;
        alone = (at == 0 || !isalnum((uint8_t)text[at - 1]) || (at >= 3 && text[at - 3] == '%')) &&
                (at + HTTP_ID == n || !isalnum((uint8_t)text[at + HTTP_ID]));
        return b->learn && alone && text[at] <= '7' ? http_ids_name(b->ids, id)
                                                    : json_get_string(b->ids->by_id, id, NULL);
}

static void blank(const struct http_blank *b, struct buf *to, const char *text, size_t n)
{
        for (size_t i = 0, k; i < n; i += k) {
                const char *id = id_at(b, text, i, n);

                k = secret_at(b, text + i, n - i);
                if (k)
                        BUF_LIT(to, HTTP_BLANK);
                else if (id)
                        buf_printf(to, "${%s}", id);
                else
                        buf_append(to, text + i, 1);
                k = k ?: id ? HTTP_ID : 1;
        }
}

static json_t *string_of(struct buf *b)
{
        return b->error ? NULL : json_stringn(buf_str(b), b->n);
}

json_t *http_blank_text(const struct http_blank *b, const char *text, size_t n)
{
        _cleanup_(cleanup_buf) struct buf to = BUF_NULL;

        blank(b, &to, text, n);
        return string_of(&to);
}

json_t *http_blank_target(const struct http_blank *b, const char *target)
{
        _cleanup_(cleanup_buf) struct buf to = BUF_NULL;
        const char *p = strchrnul(target, '?'), *end;

        blank(b, &to, target, (size_t)(p - target));
        for (; *p; p = end) {
                size_t n_name = strcspn(p + 1, "=&");

                end = p + 1 + strcspn(p + 1, "&");
                if (p[1 + n_name] == '=' && is_secret_name(p + 1, n_name)) {
                        buf_append(&to, p, n_name + 2);
                        BUF_LIT(&to, HTTP_BLANK);
                } else {
                        blank(b, &to, p, (size_t)(end - p));
                }
        }
        return string_of(&to);
}

/* Takes the value over. Names are looked through too: somebody may have a map whose keys are secrets. */
static int set(const struct http_blank *b, json_t *o, const char *name, json_t *value)
{
        _cleanup_(cleanup_buf) struct buf key = BUF_NULL;

        blank(b, &key, name, strlen(name));
        if (key.error)
                return json_decref(value), -1;
        if (json_object_get(o, buf_str(&key))) /* two secrets are one now */
                BUF_LIT(&key, "'");
        return json_object_set_new(o, buf_str(&key), value);
}

json_t *http_blank_headers(const struct http_blank *b, const char *lines)
{
        _cleanup_(cleanup_json_decref) json_t *o = json_object();

        for (const char *end; o && *lines; lines = *end ? end + 1 : end) {
                const char *colon;
                json_t *value;
                char name[128];
                size_t n = 0;

                end = strchrnul(lines, '\n');
                colon = memchr(lines, ':', (size_t)(end - lines));
                if (!colon)
                        continue;
                for (; lines + n < colon && n < sizeof(name) - 1; n++)
                        name[n] = (char)tolower((uint8_t)lines[n]);
                name[n] = 0;
                colon += 1 + strspn(colon + 1, " \t");
                value = is_secret_name(name, n) || strstr(name, "token") || strstr(name, "secret")
                                ? json_string(HTTP_BLANK)
                                : http_blank_text(b, colon, (size_t)MAX(end - colon, (ssize_t)0));
                if (!value) /* not UTF-8 */
                        value = json_string("?");
                if (json_object_get(o, name)) { /* once more: one line of both, as HTTP allows */
                        json_object_set_new(o, name, json_sprintf("%s, %s", json_get_string(o, name, ""),
                                                                  json_string_value(value)));
                        json_decref(value);
                } else if (set(b, o, name, value) < 0 && set(b, o, "?", json_string("?")) < 0) {
                        return NULL;
                }
        }
        return steal(&o);
}

/* All strings in it, where `hide`; else those of secret names, and secrets wherever they stand. */
static json_t *blank_json(const struct http_blank *b, const json_t *v, bool hide)
{
        _cleanup_(cleanup_json_decref) json_t *to = NULL;
        json_t *member;
        const char *key;
        size_t i;

        if (json_is_object(v)) {
                to = json_object();
                json_object_foreach ((json_t *)(uintptr_t)v, key, member) {
                        bool name = is_secret_name(key, strlen(key));

                        if (set(b, to, key, blank_json(b, member, hide || name)) < 0)
                                return NULL;
                }
                return steal(&to);
        }
        if (json_is_array(v)) {
                to = json_array();
                json_array_foreach (v, i, member)
                        if (json_array_append_new(to, blank_json(b, member, hide)) < 0)
                                return NULL;
                return steal(&to);
        }
        if (hide && (json_is_string(v) || json_is_number(v)))
                return json_string(HTTP_BLANK);
        return json_is_string(v) ? http_blank_text(b, json_string_value(v), json_string_length(v))
                                 : json_deep_copy(v);
}

static void unescape(struct buf *to, const char *text, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                uint8_t byte;

                if (text[i] == '%' && i + 2 < n && hex_read(text + i + 1, 2, &byte, 1)) {
                        buf_putc(to, (char)byte);
                        i += 2;
                } else {
                        buf_putc(to, text[i] == '+' ? ' ' : text[i]);
                }
        }
}

/* NULL also where it is no form with each name once. */
static json_t *blank_form(const struct http_blank *b, const char *body, size_t n)
{
        _cleanup_(cleanup_json_decref) json_t *o = json_object();

        for (const char *p = body, *end; o && p < body + n; p = end + 1) {
                _cleanup_(cleanup_buf) struct buf name = BUF_NULL, value = BUF_NULL;
                const char *equals, *last;
                json_t *v;

                end = memchr(p, '&', (size_t)(body + n - p));
                end = end ? end : body + n;
                equals = memchr(p, '=', (size_t)(end - p));
                if (!equals)
                        return NULL;
                unescape(&name, p, (size_t)(equals - p));
                unescape(&value, equals + 1, (size_t)(end - equals - 1));
                last = strrchr(buf_str(&name), '.');
                last = last ? last + 1 : buf_str(&name);
                v = is_secret_name(last, strlen(last)) ? json_string(HTTP_BLANK)
                                                       : http_blank_text(b, buf_str(&value), value.n);
                if (json_object_get(o, buf_str(&name)))
                        return json_decref(v), NULL;
                if (set(b, o, buf_str(&name), v) < 0)
                        return NULL;
        }
        return steal(&o);
}

/* Elements of secret names lose what is in them. No parser: what is no XML is not made worse. */
static json_t *blank_xml(const struct http_blank *b, const char *text, size_t n)
{
        _cleanup_(cleanup_buf) struct buf to = BUF_NULL;
        const char *end = text + n;

        for (const char *p = text; p < end;) {
                const char *open = memchr(p, '<', (size_t)(end - p)), *close, *name, *colon;
                size_t n_name;

                close = open ? memchr(open, '>', (size_t)(end - open)) : NULL;
                if (!close)
                        return blank(b, &to, p, (size_t)(end - p)), string_of(&to);
                blank(b, &to, p, (size_t)(close + 1 - p));
                p = close + 1;
                name = open + 1;
                n_name = strcspn(name, " \t\r\n/>");
                colon = memchr(name, ':', n_name);
                if (colon) {
                        n_name -= (size_t)(colon + 1 - name);
                        name = colon + 1;
                }
                open = memchr(p, '<', (size_t)(end - p));
                if (close[-1] != '/' && open && is_secret_name(name, n_name)) {
                        if (open > p)
                                BUF_LIT(&to, HTTP_BLANK);
                        p = open;
                }
        }
        return string_of(&to);
}

static json_t *as_base64(const struct http_blank *b, const void *body, size_t n)
{
        _cleanup_(cleanup_buf) struct buf plain = BUF_NULL;
        _cleanup_(cleanup_free) char *text = NULL;

        blank(b, &plain, body, n);
        text = plain.error ? NULL : malloc(plain.n / 3 * 4 + 8);
        if (!text)
                return NULL;
        EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)buf_str(&plain), (int)plain.n);
        return json_string(text);
}

/* Does the path say that the body is a secret itself, as ".../latest/api/token" does? */
static bool asks_for_secret(const char *target)
{
        size_t n = strcspn(target, "?"), at = n;

        while (at > 0 && target[at - 1] != '/')
                at--;
        return is_secret_name(target + at, n - at);
}

json_t *http_blank_body(const struct http_blank *b, const char *type, const char *target,
                        const void *body, size_t n)
{
        _cleanup_(cleanup_json_decref) json_t *o = json_object(), *json = NULL, *v = NULL;
        const char *text = body, *as = "text";
        char why[JSON_PARSE_ERROR];

        if (!o || n == 0)
                return steal(&o);
        if ((strcasestr(type, "json") || text[0] == '{' || text[0] == '[') &&
            json_parse(body, n, &json, why) == 0) {
                as = "json";
                v = blank_json(b, json, asks_for_secret(target) && !json_is_object(json));
        } else if (strcasestr(type, "x-www-form-urlencoded") && (v = blank_form(b, text, n))) {
                as = "form";
        } else if (asks_for_secret(target)) {
                v = json_string(HTTP_BLANK);
        } else {
                v = memchr(text, '<', MIN(n, (size_t)64)) ? blank_xml(b, text, n)
                                                          : http_blank_text(b, text, n);
                if (!v) { /* no UTF-8 */
                        as = "base64";
                        v = as_base64(b, body, n);
                }
        }
        return json_object_set(o, as, v) < 0 ? NULL : steal(&o);
}
