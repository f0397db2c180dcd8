/* SPDX-License-Identifier: Apache-2.0 */
/* The operator who looks for what carries the site's marks and belongs to no journal (prvng resource orphans),
 * and takes over what others made (prvng resource adopt). */
#include "simulate/clients.h"
#include "simulate/witness.h"

#include "base/json.h"
#include "simulate/cloud.h"

#include <jansson.h>

static bool sweeping; /* a question or what follows from it is not answered */
static struct buf plan; /* what shall be done with what was found */

void orphans_draw(void)
{
        sweeping = false;
        buf_clear(&plan);
        if (fault(FAULT_ORPHAN))
                event_add(random_between(&sim->random, 1, 20000), EVENT_APPEAR, 0);
        while (fault(FAULT_SWEEP))
                event_add(random_between(&sim->random, 1, 120000), EVENT_COMMAND, (uint32_t)SWEEP << 16);
        while (fault(FAULT_ADOPT))
                event_add(random_between(&sim->random, 1, 120000), EVENT_COMMAND, (uint32_t)ADOPT << 16);
}

void orphans_engine_gone(void)
{
        sweeping = false;
}

static void take(void)
{
        if (!plan.n || sweeping)
                return;
        HISTORY("take", plan.n, 0, "%s", buf_str(&plan));
        sweeping = true;
        client_send(TAKE, 0, "POST", "/resources/orphans", &plan);
        buf_clear(&plan);
}

void orphans_command(enum command kind)
{
        _cleanup_(cleanup_buf) struct buf body = BUF_NULL;

        if (kind == TAKE) {
                take();
                return;
        }
        if (kind == ADOPT && cloud_foreign(&body)) {
                HISTORY("adopt", body.n, 0, "%s", buf_str(&body));
                client_send(ADOPT, 0, "POST", "/resources/adopt", &body);
        } else if (kind == SWEEP && !sweeping) {
                sweeping = true;
                cloud_sweep_begins();
                HISTORY("sweep", 0, 0, "what is there that no journal knows?");
                client_send(SWEEP, 0, "GET", "/resources/orphans", NULL);
        }
}

static char *text_of(const json_t *json, const char *member)
{
        char *text = json_dumps(json_object_get(json, member), JSON_COMPACT);

        if (!text)
                abort();
        return text;
}

static void found(const json_t *answer)
{
        _cleanup_(cleanup_free) char *orphans = text_of(answer, "orphans"), *silent = text_of(answer, "silent");
        bool deletes = random_chance(&sim->random, 600);

        cloud_sweep_ends(orphans, silent);
        sweeping = false;
        if (!json_array_size(json_object_get(answer, "orphans")) || random_chance(&sim->random, 200) ||
            *sim->failure)
                return;
        buf_clear(&plan);
        buf_printf(&plan, "{\"resources\":%s,\"action\":\"%s\"}", orphans, deletes ? "delete" : "adopt");
        if (random_chance(&sim->random, 500))
                take();
        else /* who looks at it for a while finds the world changed */
                event_add(random_between(&sim->random, 1, 60000), EVENT_COMMAND, (uint32_t)TAKE << 16);
}

static void taken(const json_t *answer)
{
        _cleanup_(cleanup_free) char *adopted = text_of(answer, "adopted");
        json_t *one;
        size_t i;

        json_array_foreach (json_object_get(answer, "runs"), i, one) {
                if (!witness_only_about(json_get_string(one, "id", ""), adopted))
                        violated("orphan-wrong", "run %s deletes more than the orphans: %s",
                                 json_get_string(one, "id", ""), adopted);
                if (!witness_accepted(json_get_string(one, "id", "")))
                        violated("answered-early", "run %s, which deletes orphans, was answered before it is "
                                 "durable", json_get_string(one, "id", ""));
        }
        json_array_foreach (json_object_get(answer, "adopted"), i, one) {
                if (!witness_owns(json_get_string(one, "key", ""), 0))
                        violated("answered-early", "%s was adopted, that was answered, and it is not durable",
                                 json_get_string(one, "key", ""));
        }
        sweeping = false;
}

void orphans_answer(enum command kind, int status, const char *body)
{
        _cleanup_(cleanup_json_decref) json_t *answer = json_loads(body, 0, NULL);

        if (kind == ADOPT && status == 202 && !witness_owns(json_get_string(answer, "key", ""), 0))
                violated("answered-early", "%s was adopted, that was answered, and it is not durable",
                         json_get_string(answer, "key", ""));
        if (kind == SWEEP && status == 200)
                found(answer);
        else if (kind == TAKE && status == 202)
                taken(answer);
        else if (kind != ADOPT)
                sweeping = false;
        if (status >= 500)
                sim->failing = true;
}
