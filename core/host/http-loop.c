/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread "prvng-http": all that libcurl does for plugins happens on it, so libcurl's handles need no
 * lock. Workers put exchanges into `posted`, or mark them unwanted, and wake it; it makes their done_fd
 * readable when they have ended. No callback of it blocks.
 *
 * curl_multi_poll looks at every socket in each turn. There are at most as many as workers (256), idle
 * connections are not looked at, and a turn costs microseconds: epoll would gain nothing.
 */
#include "host/http.h"

#include <malloc.h>
#include <signal.h>
#include <sys/eventfd.h>

enum { IDLE_CONNECTIONS = 64 };

struct http_loop {
        pthread_t thread;
        CURLM *multi;
        CURLSH *share;
        pthread_mutex_t lock;
        struct http_exchange *posted;
        bool changed; /* there is something in `posted`, or an exchange became unwanted */
        bool end;
        struct http_exchange *running; /* of the thread; `next` is read by no one else */
};

/*
 * libcurl's memory is wiped when it is freed: it holds copies of credentials and of headers with them.
 * Whole blocks, for their size within the block is not known here.
 */
static void wiping_free(void *p)
{
        if (p)
                explicit_bzero(p, malloc_usable_size(p));
        free(p);
}

static void *wiping_realloc(void *p, size_t n)
{
        size_t had = p ? malloc_usable_size(p) : 0;
        void *q;

        if (p && n <= had && n >= had / 2)
                return p;
        q = malloc(n ? n : 1);
        if (!q)
                return NULL;
        if (p)
                memcpy(q, p, MIN(n, had));
        wiping_free(p);
        return q;
}

static int library_result = -1;

static void library_init(void)
{
        library_result = curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wiping_free,
                                              wiping_realloc, strdup, calloc);
}

int http_library_init(void)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        pthread_once(&once, library_init);
        return library_result ? error_origin(-ENOMEM) : 0;
}

/* The last that the loop does with an exchange. With the lock. */
static void ended(struct http_exchange *x)
{
        x->done = true;
        eventfd_write(x->done_fd, 1);
}

static void forget(struct http_loop *l, struct http_exchange *x)
{
        for (struct http_exchange **p = &l->running; *p; p = &(*p)->next) {
                if (*p == x) {
                        *p = x->next;
                        break;
                }
        }
        curl_multi_remove_handle(l->multi, x->easy);
        http_easy_deinit(x);
}

static bool begin(struct http_loop *l, struct http_exchange *x)
{
        if (x->unwanted) {
                x->code = CURLE_ABORTED_BY_CALLBACK;
                return false;
        }
        if (http_easy_init(x, l->share) < 0)
                return false;
        if (curl_multi_add_handle(l->multi, x->easy) != CURLM_OK) {
                x->code = CURLE_OUT_OF_MEMORY;
                http_easy_deinit(x);
                return false;
        }
        x->next = l->running;
        l->running = x;
        return true;
}

/* What the workers want. False: the loop ends. */
static bool take_orders(struct http_loop *l)
{
        struct http_exchange *x, *next, *posted = NULL;
        bool end;

        pthread_mutex_lock(&l->lock);
        if (l->changed) {
                l->changed = false;
                while ((x = l->posted)) { /* the last posted stands first */
                        l->posted = x->next;
                        x->next = posted;
                        posted = x;
                }
                for (; posted; posted = next) {
                        next = posted->next;
                        if (!begin(l, posted))
                                ended(posted);
                }
                for (x = l->running; x; x = next) {
                        next = x->next;
                        if (x->unwanted || l->end) {
                                x->code = CURLE_ABORTED_BY_CALLBACK;
                                forget(l, x);
                                ended(x);
                        }
                }
        }
        end = l->end;
        pthread_mutex_unlock(&l->lock);
        return !end;
}

static void take_results(struct http_loop *l)
{
        int left;

        for (CURLMsg *m; (m = curl_multi_info_read(l->multi, &left));) {
                CURLcode code = m->data.result;
                struct http_exchange *x = NULL;
                long status = 0;

                if (m->msg != CURLMSG_DONE)
                        continue;
                curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &x);
                curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
                curl_easy_getinfo(x->easy, CURLINFO_OS_ERRNO, &x->os_error);
                x->reply.status = (int32_t)status;
                x->code = code;
                forget(l, x);
                pthread_mutex_lock(&l->lock);
                ended(x);
                pthread_mutex_unlock(&l->lock);
        }
}

static void *loop(void *userdata)
{
        struct http_loop *l = userdata;
        int running;

        pthread_setname_np(pthread_self(), "prvng-http");
        while (take_orders(l)) {
                curl_multi_perform(l->multi, &running);
                take_results(l);
                curl_multi_poll(l->multi, NULL, 0, 60000, NULL);
        }
        return NULL;
}

/* All signals are the engine's business. */
static int start_thread(struct http_loop *l)
{
        sigset_t all, before;
        int r;

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&l->thread, NULL, loop, l);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return -r;
}

static struct http_loop *loop_new(void)
{
        struct http_loop *l = calloc(1, sizeof(*l));
        int r = l ? http_library_init() : -ENOMEM;

        if (!l)
                return errno = ENOMEM, NULL;
        pthread_mutex_init(&l->lock, NULL);
        l->multi = r == 0 ? curl_multi_init() : NULL;
        l->share = l->multi ? curl_share_init() : NULL;
        r = l->share ? 0 : -ENOMEM;
        if (r == 0) {
                curl_share_setopt(l->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
                curl_multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS);
                curl_multi_setopt(l->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
                r = start_thread(l);
        }
        if (r == 0)
                return l;
        if (l->share)
                curl_share_cleanup(l->share);
        if (l->multi)
                curl_multi_cleanup(l->multi);
        pthread_mutex_destroy(&l->lock);
        free(l);
        return errno = -r, NULL;
}

struct http_loop *http_loop_get(struct host *h)
{
        struct http_loop *l;

        pthread_mutex_lock(&h->http_lock);
        if (!h->http)
                h->http = loop_new();
        l = h->http;
        pthread_mutex_unlock(&h->http_lock);
        return l;
}

void http_loop_free(struct http_loop *l)
{
        if (!l)
                return;
        pthread_mutex_lock(&l->lock);
        l->end = l->changed = true;
        pthread_mutex_unlock(&l->lock);
        curl_multi_wakeup(l->multi);
        pthread_join(l->thread, NULL);
        curl_multi_cleanup(l->multi);
        curl_share_cleanup(l->share);
        pthread_mutex_destroy(&l->lock);
        free(l);
}

void http_loop_post(struct http_loop *l, struct http_exchange *x)
{
        pthread_mutex_lock(&l->lock);
        x->next = l->posted;
        l->posted = x;
        l->changed = true;
        pthread_mutex_unlock(&l->lock);
        curl_multi_wakeup(l->multi);
}

void http_loop_cancel(struct http_loop *l, struct http_exchange *x)
{
        pthread_mutex_lock(&l->lock);
        x->unwanted = l->changed = true;
        pthread_mutex_unlock(&l->lock);
        curl_multi_wakeup(l->multi);
}

void http_loop_take(struct http_loop *l, struct http_exchange *x)
{
        pthread_mutex_lock(&l->lock);
        assert(x->done);
        pthread_mutex_unlock(&l->lock);
}
