/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One listing for all who wait. Operations under way want to know the state of their server; asking
 * for each would cost many requests of the few that the rate limit allows. So one of them asks for
 * the list of all servers of the site, now and then, and the others read what it brought.
 *
 * How often: every half a second at first, more seldom while nothing changes (up to 5 s); and while
 * changes wait for the rate limit, at most one listing for each 50 of them or each 10 s, so that a
 * listing never takes what a create needs.
 *
 * What we change ourselves (stop, start) makes what an older listing says of that server worthless:
 * it is remembered when that was (watch_touch).
 */
#include "upcloud.h"

#define PAUSE_LEAST_MS 500
#define PAUSE_MOST_MS 5000
#define BUSY_CHANGES 50
#define BUSY_MS 10000
#define FORGET_MS 3600000 /* no operation waits that long */
#define ASK_BUSY_MS 500   /* when a poll comes again that may not ask now */
#define ASK_SOON_MS 100   /* while somebody else is asking */

void watch_init(struct watch *w)
{
        pthread_mutex_init(&w->lock, NULL);
        w->sites = json_object();
        w->touched = json_object();
        w->asking = json_object();
        w->pause_ms = PAUSE_LEAST_MS;
}

void watch_deinit(struct watch *w)
{
        json_decref(w->sites);
        json_decref(w->touched);
        json_decref(w->asking);
        pthread_mutex_destroy(&w->lock);
}

void watch_busy(struct upcloud *u, int change)
{
        struct watch *w = &u->watch;

        pthread_mutex_lock(&w->lock);
        w->n_busy += (unsigned)change;
        if (change < 0) {
                w->n_since++;
                w->pause_ms = PAUSE_LEAST_MS;
        }
        pthread_mutex_unlock(&w->lock);
}

void watch_touch(struct upcloud *u, const char *id)
{
        struct watch *w = &u->watch;

        pthread_mutex_lock(&w->lock);
        json_object_set_new(w->touched, id, json_integer(u->host->monotonic_ms()));
        pthread_mutex_unlock(&w->lock);
}

/* How long until the next listing may leave; 0: now. With the lock. */
static int64_t wait_ms(const struct watch *w, const json_t *site, int64_t now)
{
        int64_t age = now - up_number(site, "ended", 0);

        if (!site)
                return 0;
        if (w->n_busy > 0 && w->n_since < BUSY_CHANGES && age < BUSY_MS)
                return ASK_BUSY_MS;
        return age >= w->pause_ms ? 0 : w->pause_ms - age;
}

/* Has any server another state than in the listing before? */
static bool has_changed(const json_t *before, const json_t *after)
{
        const char *id;
        json_t *server;

        if (json_object_size(before) != json_object_size(after))
                return true;
        json_object_foreach ((json_t *)(uintptr_t)after, id, server)
                if (!json_equal(json_object_get(json_object_get(before, id), "state"),
                                json_object_get(server, "state")))
                        return true;
        return false;
}

/* With the lock. */
static void forget_touched(struct watch *w, int64_t begun)
{
        const char *id;
        json_t *ms;
        void *next;

        json_object_foreach_safe (w->touched, next, id, ms)
                if (json_integer_value(ms) + FORGET_MS < begun)
                        json_object_del(w->touched, id);
}

static void keep(struct upcloud *u, const char *site, const json_t *list, int64_t begun)
{
        struct watch *w = &u->watch;
        json_t *servers = json_object(), *server;
        size_t i;

        json_array_foreach (list, i, server)
                json_object_set(servers, up_string(server, "uuid", ""), server);
        pthread_mutex_lock(&w->lock);
        if (has_changed(up_inner(w->sites, site, "servers"), servers))
                w->pause_ms = PAUSE_LEAST_MS;
        else
                w->pause_ms =
                        w->pause_ms * 3 / 2 < PAUSE_MOST_MS ? w->pause_ms * 3 / 2 : PAUSE_MOST_MS;
        json_object_set_new(w->sites, site,
                            json_pack("{s:o, s:I, s:I}", "servers", servers, "begun",
                                      (json_int_t)begun, "ended",
                                      (json_int_t)u->host->monotonic_ms()));
        w->n_since = 0;
        forget_touched(w, begun);
        pthread_mutex_unlock(&w->lock);
}

static int32_t ask(struct upcloud *u, struct prvng_call *call, const char *site)
{
        _cleanup_(cleanup_json) json_t *list = NULL;
        int64_t begun = u->host->monotonic_ms();
        int32_t r =
                find_marked(u, call, "server", site, NULL, NULL, NULL, PRVNG_EFFECT_UNKNOWN, &list);

        if (r == PRVNG_DONE)
                keep(u, site, list, begun);
        pthread_mutex_lock(&u->watch.lock);
        json_object_del(u->watch.asking, site);
        pthread_mutex_unlock(&u->watch.lock);
        return r;
}

/* What the newest listing says of it, if that counts. With the lock. One that does not name it may
 * be of before it was made, unless it was just asked for. */
static int look(const struct watch *w, const json_t *listed, const char *id, bool asked,
                json_t **ret_server)
{
        json_t *server = up_inner(listed, "servers", id);

        if (up_number(listed, "begun", -1) < up_number(w->touched, id, 0) || (!server && !asked))
                return WATCH_UNKNOWN;
        *ret_server = json_incref(server);
        return server ? WATCH_THERE : WATCH_GONE;
}

int32_t watch_server(struct upcloud *u, struct prvng_call *call, const char *site, const char *id,
                     const char *wanted, json_t **ret_server, int64_t *ret_after_ms)
{
        struct watch *w = &u->watch;

        for (bool asked = false;; asked = true) {
                json_t *server = NULL;
                const json_t *listed;
                bool mine = false;
                int64_t wait;
                int found;
                int32_t r;

                pthread_mutex_lock(&w->lock);
                listed = json_object_get(w->sites, site);
                found = look(w, listed, id, asked, &server);
                wait = wait_ms(w, listed, u->host->monotonic_ms());
                if (json_object_get(w->asking, site))
                        wait = ASK_SOON_MS;
                else if (!asked && wait == 0 && !streq(up_string(server, "state", ""), wanted))
                        mine = json_object_set_new(w->asking, site, json_true()) == 0;
                pthread_mutex_unlock(&w->lock);
                if (!mine) {
                        *ret_server = server;
                        *ret_after_ms = wait > 0 ? wait : ASK_SOON_MS;
                        return found;
                }
                json_decref(server);
                r = ask(u, call, site);
                if (r < 0)
                        return r;
        }
}

/* All in the newest listing that carry this op id; NULL if it is not new enough. With the lock. */
static json_t *made_by(struct watch *w, const char *site, const char *op_id, int64_t now)
{
        const json_t *listed = json_object_get(w->sites, site);
        json_t *found, *server;
        const char *id;

        if (!listed || up_number(listed, "begun", 0) < now - WATCH_OLD_MS)
                return NULL;
        found = json_array();
        json_object_foreach (json_object_get(listed, "servers"), id, server) {
                _cleanup_(cleanup_json) json_t *labels = up_labels(server);

                if (streq(up_string(labels, MARK_OP, ""), op_id))
                        json_array_append(found, server);
        }
        return found;
}

int32_t watch_made_by(struct upcloud *u, struct prvng_call *call, const char *site,
                      const char *op_id, json_t **ret_servers)
{
        struct watch *w = &u->watch;

        *ret_servers = NULL;
        for (;;) {
                json_t *found;
                bool others;
                int32_t r;

                pthread_mutex_lock(&w->lock);
                found = made_by(w, site, op_id, u->host->monotonic_ms());
                others = json_object_get(w->asking, site);
                if (!found && !others)
                        json_object_set_new(w->asking, site, json_true());
                pthread_mutex_unlock(&w->lock);
                if (found) {
                        *ret_servers = found;
                        return WATCH_THERE;
                }
                if (others) {
                        u->host->ask_again(call, ASK_SOON_MS);
                        return WATCH_UNKNOWN;
                }
                r = ask(u, call, site);
                if (r < 0)
                        return r;
        }
}
