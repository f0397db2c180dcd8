/* SPDX-License-Identifier: Apache-2.0 */
#include "config/capability.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/problem.h"
#include "base/util.h"

#include <ctype.h>

enum { ENTRIES_MAX = 256 };

static bool is_variable(const char *s)
{
        if (isdigit((unsigned char)*s))
                return false;
        for (const char *p = s; *p; p++)
                if (!isalnum((unsigned char)*p) && *p != '_')
                        return false;
        return *s != 0;
}

static bool is_path(const char *s)
{
        if (s[0] != '/' && strncmp(s, "~/", 2) != 0)
                return false;
        return !strstr(s, "/../") && !(strlen(s) > 2 && streq(s + strlen(s) - 3, "/.."));
}

static bool is_written(const char *s)
{
        return is_path(s) || streq(s, "@task");
}

static bool is_secret(const char *s)
{
        return is_path(s) || is_variable(s);
}

static bool is_program(const char *s)
{
        return (s[0] == '/' && is_path(s)) || (*s && !strchr(s, '/') && !streq(s, ".") && !streq(s, ".."));
}

/* HOST:PORT; the host may be "*.DOMAIN". */
static bool is_host(const char *s)
{
        const char *colon = strrchr(s, ':'), *name = startswith(s, "*.") ?: s;
        size_t n = colon ? (size_t)(colon - name) : 0;
        unsigned long port = 0;
        int used = 0;

        if (!colon || n == 0 || sscanf(colon + 1, "%5lu%n", &port, &used) != 1 || colon[1 + used] ||
            !isdigit((unsigned char)colon[1]) || port < 1 || port > 65535)
                return false;
        if (name[0] == '[')
                return name == s && name[n - 1] == ']' && strspn(name + 1, "0123456789abcdefABCDEF:.") == n - 2;
        return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == n;
}

static const struct list {
        const char *group, *name;
        bool (*is_sound)(const char *s);
        const char *accepted;
} lists[] = {
        {NULL, "hosts", is_host, "\"HOST:PORT\", HOST also as \"*.DOMAIN\""},
        {NULL, "secrets", is_secret, "names of variables, and files from / or ~/"},
        {NULL, "environment", is_variable, "names of variables"},
        {NULL, "programs", is_program, "names of helper programs, and programs from /"},
        {"paths", "read", is_path, "files and folders from / or ~/"},
        {"paths", "write", is_written, "files and folders from / or ~/, and \"@task\""},
};
static const char *const switches[] = {"processes", "sockets"};

static const json_t *find_list(const json_t *capabilities, const struct list *l)
{
        return json_object_get(l->group ? json_object_get(capabilities, l->group) : capabilities, l->name);
}

static void check_list(const struct list *l, const json_t *list, struct buf *wrong)
{
        const char *group = l->group ?: "", *dot = l->group ? "." : "";
        const json_t *e;
        size_t i;

        if (!list || wrong->n)
                return;
        if (!json_is_array(list) || json_array_size(list) > ENTRIES_MAX) {
                buf_printf(wrong, ".%s%s%s: a list of at most %d strings is expected: %s", group, dot, l->name,
                           ENTRIES_MAX, l->accepted);
                return;
        }
        json_array_foreach (list, i, e) {
                const char *s = json_string_value(e);

                if (s && strlen(s) < 1024 && l->is_sound(s))
                        continue;
                buf_printf(wrong, ".%s%s%s[%zu]: %s%s%s is not accepted; accepted are %s", group, dot, l->name, i,
                           s ? "\"" : "", s ? s : "what is no string", s ? "\"" : "", l->accepted);
                return;
        }
}

static void check_members(const json_t *object, const char *group, struct buf *wrong)
{
        static const char *const top[] = {"hosts", "secrets", "environment", "paths", "programs", "processes",
                                          "sockets"};
        static const char *const below[] = {"read", "write"};
        const char *const *known = group ? below : top;
        size_t n = group ? N_ELEMENTS(below) : N_ELEMENTS(top);
        const char *key;
        json_t *value;

        if (wrong->n || (group && !object))
                return;
        if (!json_is_object(object)) {
                buf_printf(wrong, "%s%s: an object is expected", group ? "." : "", group ?: "");
                return;
        }
        json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
                const char *meant = did_you_mean(key, known, n);
                bool is_known = false;

                for (size_t i = 0; i < n; i++)
                        is_known = is_known || streq(key, known[i]);
                if (is_known)
                        continue;
                buf_printf(wrong, "%s%s: there is no \"%s\"%s%s%s; known are %s", group ? "." : "", group ?: "",
                           key, meant ? ", did you mean \"" : "", meant ?: "", meant ? "\"?" : "",
                           group ? "read and write"
                                 : "hosts, secrets, environment, paths, programs, processes and sockets");
                return;
        }
}

int capability_check(const json_t *capabilities, char **ret_reason)
{
        _cleanup_(cleanup_buf) struct buf wrong = BUF_NULL;

        *ret_reason = NULL;
        check_members(capabilities, NULL, &wrong);
        check_members(json_object_get(capabilities, "paths"), "paths", &wrong);
        for (size_t i = 0; i < N_ELEMENTS(lists); i++)
                check_list(&lists[i], find_list(capabilities, &lists[i]), &wrong);
        for (size_t i = 0; i < N_ELEMENTS(switches) && !wrong.n; i++) {
                const json_t *s = json_object_get(capabilities, switches[i]);

                if (s && !json_is_boolean(s))
                        buf_printf(&wrong, ".%s: true or false is expected", switches[i]);
        }
        if (buf_error(&wrong))
                return error_origin(-ENOMEM);
        if (!wrong.n)
                return 0;
        *ret_reason = buf_steal(&wrong);
        return *ret_reason ? 0 : error_origin(-ENOMEM);
}

static int add_new(json_t *to, const json_t *from)
{
        const json_t *e, *old;
        size_t i, k;

        json_array_foreach (from, i, e) {
                bool is_there = false;

                json_array_foreach (to, k, old)
                        is_there = is_there || json_equal(old, e);
                if (!is_there && json_array_append(to, (json_t *)(uintptr_t)e) < 0)
                        return error_origin(-ENOMEM);
        }
        return 0;
}

json_t *capability_merge(const json_t *declared, const json_t *allowed)
{
        _cleanup_(cleanup_json_decref) json_t *all = json_pack("{s:{}}", "paths");
        int r = all ? 0 : -ENOMEM;

        for (size_t i = 0; r == 0 && i < N_ELEMENTS(lists); i++) {
                json_t *list = json_array(), *in = lists[i].group ? json_object_get(all, lists[i].group) : all;

                if (json_object_set_new(in, lists[i].name, list) < 0)
                        return NULL;
                r = add_new(list, find_list(declared, &lists[i]));
                r = r ?: add_new(list, find_list(allowed, &lists[i]));
        }
        for (size_t i = 0; r == 0 && i < N_ELEMENTS(switches); i++)
                r = json_object_set_new(all, switches[i],
                                        json_boolean(json_get_bool(declared, switches[i], false) ||
                                                     json_get_bool(allowed, switches[i], false)));
        return r == 0 ? steal(&all) : NULL;
}
