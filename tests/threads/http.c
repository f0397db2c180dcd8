/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.host.http/1 from many threads at once: sends in two sessions, secrets replaced meanwhile, calls
 * cancelled at any moment, a recording; and the end of the host. A plain program, for
 * -Dsanitize=thread (criterion aborts there).
 */
#include "base/clock.h"
#include "host/host.h"
#include "host/services.h"
#include "plugin/border.h"
#include "support/site.h"
#include "support/web.h"

#include <limits.h>
#include <stdatomic.h>

enum { SENDERS = 8, REQUESTS = 60 };

#define CHECK(x)                                                                                   \
        do {                                                                                       \
                if (!(x)) {                                                                        \
                        fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x);            \
                        abort();                                                                   \
                }                                                                                  \
        } while (0)

struct stage {
        struct host *host;
        const struct prvng_host *table;
        const struct prvng_host_http *http;
        struct prvng_http_session *sessions[2];
        pthread_mutex_t lock;
        struct op_call *calls[SENDERS]; /* under way */
        atomic_int done, cancelled, failed, lines;
        atomic_bool over;
};

struct sender {
        struct stage *stage;
        unsigned int number;
        pthread_t thread;
};

static void on_log(void *userdata, int32_t level, const char *plugin, const char *topic, const char *run,
                   const char *task, const char *message)
{
        struct stage *s = userdata;

        CHECK(!strstr(message, "s3cret"));
        atomic_fetch_add(&s->lines, 1);
}

static void on_request(void *userdata, const struct web_request *q, struct web_reply *ret)
{
        CHECK(strstr(q->headers, "Authorization: Bearer s3cret-"));
        if (q->number % 7 == 0)
                ret->manner = WEB_RESET;
        else if (q->number % 11 == 0)
                ret->manner = WEB_SILENT; /* until the client gives up */
        else
                ret->body = "{\"state\":\"started\"}";
}

static void send_one(struct sender *me, unsigned int i)
{
        struct stage *s = me->stage;
        struct op_reply reply = OP_REPLY_NULL;
        struct op_call call = {.pub = {.struct_size = sizeof(call.pub), .op_id = "", .attempt = 1,
                                       .deadline_ms = INT64_MAX},
                               .host = s->host, .plugin_name = "cloud", .run = "", .task = "",
                               .cancel_fd = -1, .reply = &reply};
        struct prvng_http_request q = {.struct_size = sizeof(q), .method = i % 2 ? "POST" : "GET",
                                       .target = "/x", .body = i % 2 ? "{}" : NULL,
                                       .n_body = i % 2 ? 2 : 0, .timeout_ms = 200};
        struct prvng_http_response response = {.struct_size = sizeof(response)};
        struct prvng_sink *body = s->table->sink_new(1000);
        int32_t answer;

        pthread_mutex_lock(&s->lock);
        s->calls[me->number] = &call;
        pthread_mutex_unlock(&s->lock);
        answer = s->http->send(&call.pub, s->sessions[i / 2 % 2], &q, &response, NULL, body);
        pthread_mutex_lock(&s->lock);
        s->calls[me->number] = NULL;
        pthread_mutex_unlock(&s->lock);
        CHECK(answer == PRVNG_DONE || answer == PRVNG_TRANSIENT || answer == PRVNG_CANCELLED);
        if (answer == PRVNG_DONE)
                CHECK(strstr(s->table->sink_data(body, NULL), "started"));
        atomic_fetch_add(answer == PRVNG_DONE        ? &s->done
                         : answer == PRVNG_CANCELLED ? &s->cancelled
                                                     : &s->failed, 1);
        s->table->sink_free(body);
        free(reply.message);
        free(reply.field);
        if (call.cancel_fd >= 0)
                close(call.cancel_fd);
}

static void *sending(void *userdata)
{
        struct sender *me = userdata;

        for (unsigned int i = 0; i < REQUESTS; i++)
                send_one(me, i);
        return NULL;
}

/* New secrets, and now and then an end to somebody's call. */
static void *meddling(void *userdata)
{
        struct stage *s = userdata;
        char secret[32];

        for (unsigned int i = 0; !atomic_load(&s->over); i++) {
                snprintf(secret, sizeof(secret), "s3cret-%u", i);
                CHECK(s->http->secret_set(s->sessions[i % 2], "token", secret, strlen(secret)) == 0);
                pthread_mutex_lock(&s->lock);
                if (i % 5 == 0 && s->calls[i % SENDERS])
                        op_call_cancel(s->calls[i % SENDERS]);
                pthread_mutex_unlock(&s->lock);
                usleep(2000);
        }
        return NULL;
}

static void open_sessions(struct stage *s, const struct web *web)
{
        char options[200];

        snprintf(options, sizeof(options), "{\"base_url\":\"http://127.0.0.1:%d\",\"concurrency\":3,"
                 "\"auth\":{\"type\":\"bearer\",\"token\":{\"set\":\"token\"}}}", web_port(web));
        for (size_t i = 0; i < 2; i++) {
                CHECK(s->http->session_new(s->table, options, strlen(options), &s->sessions[i]) == 0);
                CHECK(s->http->secret_set(s->sessions[i], "token", "s3cret-0", 8) == 0);
        }
}

int main(void)
{
        struct web *web = web_new(&(struct web_options){.answer = on_request});
        struct stage s = {.lock = PTHREAD_MUTEX_INITIALIZER};
        struct host_hooks hooks = {.log = on_log, .userdata = &s};
        struct problems problems = PROBLEMS_NULL;
        struct sender senders[SENDERS];
        struct config *config = NULL;
        struct test_site site;
        pthread_t meddler;
        char *tape;

        test_site_new(&site, NULL, 0, NULL);
        tape = test_site_path(&site, "tape.jsonl");
        setenv("PRVNG_HTTP_RECORD", tape, 1);
        CHECK(config_load(site.conf, &problems, &config) == 0);
        CHECK(host_new(config, &hooks, &s.host) == 0);
        s.table = host_table_for(s.host, "cloud");
        s.http = s.table->get_interface(s.table, PRVNG_HOST_HTTP);
        open_sessions(&s, web);
        for (unsigned int i = 0; i < SENDERS; i++) {
                senders[i] = (struct sender){.stage = &s, .number = i};
                CHECK(pthread_create(&senders[i].thread, NULL, sending, &senders[i]) == 0);
        }
        CHECK(pthread_create(&meddler, NULL, meddling, &s) == 0);
        for (unsigned int i = 0; i < SENDERS; i++)
                pthread_join(senders[i].thread, NULL);
        atomic_store(&s.over, true);
        pthread_join(meddler, NULL);
        CHECK(s.done + s.cancelled + s.failed == SENDERS * REQUESTS);
        CHECK(s.done > 0 && s.failed > 0);
        CHECK(s.lines >= SENDERS * REQUESTS);
        printf("%d done, %d cancelled, %d failed; %u connections, at most %d requests at once\n", s.done,
               s.cancelled, s.failed, web_connections(web), web_most_at_once(web));
        for (size_t i = 0; i < 2; i++)
                s.http->session_free(s.sessions[i]);
        host_free(s.host);
        config_free(config);
        web_free(web);
        test_site_remove(&site);
        free(tape);
        return 0;
}
