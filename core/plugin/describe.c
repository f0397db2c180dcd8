/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/describe.h"

#include "base/json.h"
#include "base/clock.h"
#include "plugin/confine.h"
#include "plugin/isolate.h"

const char *plugin_state_text(const struct plugin *p)
{
        struct isolate_state s;

        if (p->state == PLUGIN_DISABLED)
                return "disabled";
        if (p->state == PLUGIN_REFUSED)
                return "refused";
        if (!plugin_isolation(p))
                return "enabled";
        return isolate_state(p, &s) && s.quarantined ? "quarantined" : "isolated";
}

/* What became of its process so far: "process", and "reason" of a quarantine. */
static int add_process(json_t *o, const struct plugin *p)
{
        char since[CLOCK_TEXT] = "", reason[400];
        struct isolate_state s;
        json_t *process;

        if (!isolate_state(p, &s))
                return 0;
        if (s.last_crash_wall_ms)
                clock_text(s.last_crash_wall_ms, since);
        process = json_pack("{s:b, s:i, s:i, s:i, s:b, s:s?, s:s?, s:s?}", "running", s.running, "pid", (int)s.pid,
                            "starts", (int)s.n_starts, "crashes", (int)s.n_crashes, "quarantined", s.quarantined,
                            "last_reason", *s.last_reason ? s.last_reason : NULL, "last_crash_at",
                            *since ? since : NULL, "lacks", *s.confinement ? s.confinement : NULL);
        if (!process || json_object_set_new(o, "process", process) < 0 ||
            json_object_set_new(process, "user", json_integer(json_get_int(isolate_sandbox_of(p), "uid",
                                                                           (json_int_t)geteuid()))) < 0 ||
            json_object_set(process, "remarks", json_object_get(isolate_sandbox_of(p), "remarks")) < 0)
                return error_origin(-ENOMEM);
        if (!s.quarantined)
                return 0;
        snprintf(reason, sizeof(reason), "since %s, after %u crashes: %s; a reload of the engine (SIGHUP) ends it", since,
                 s.n_in_window, s.last_reason);
        return json_object_set_new(o, "reason", json_string(reason)) < 0 ? error_origin(-ENOMEM) : 0;
}

static int add_isolation(json_t *o, const struct plugin *p)
{
        _cleanup_(cleanup_buf) struct buf may = BUF_NULL;

        if (!p->capabilities)
                return 0;
        if (json_object_set(o, "capabilities", p->capabilities) < 0)
                return error_origin(-ENOMEM);
        if (!plugin_isolation(p))
                return 0;
        confine_describe(p, &may);
        return buf_error(&may) || json_object_set_new(o, "may", json_string(buf_str(&may))) < 0 ||
                               json_object_set_new(o, "memory", json_integer(p->config->memory)) < 0
                       ? error_origin(-ENOMEM)
                       : 0;
}

json_t *plugin_describe(const struct plugin *p)
{
        json_t *o = json_pack("{s:s?, s:s?, s:s?, s:s?, s:s, s:s?, s:s, s:s?, s:s?, s:s?, s:s?, s:s?}", "name",
                              p->name, "kind", p->kind, "id", p->id, "version", p->version, "state",
                              plugin_state_text(p), "reason", p->reason, "isolation",
                              plugin_isolation(p) ? "process" : "none", "path", p->path, "sha256",
                              p->sha256, "build_id", p->build_id, "signed_by", p->signer, "enabled_by",
                              p->config ? p->config->from : NULL);

        if (o && (add_isolation(o, p) < 0 || add_process(o, p) < 0)) {
                json_decref(o);
                return NULL;
        }
        return o;
}
