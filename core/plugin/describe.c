/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/describe.h"

#include "base/json.h"
#include "plugin/confine.h"

const char *plugin_state_text(const struct plugin *p)
{
        if (p->state == PLUGIN_DISABLED)
                return "disabled";
        if (p->state == PLUGIN_REFUSED)
                return "refused";
        return plugin_isolation(p) ? "isolated" : "enabled";
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

        if (o && add_isolation(o, p) < 0) {
                json_decref(o);
                return NULL;
        }
        return o;
}
