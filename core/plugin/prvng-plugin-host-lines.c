/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels in the helper: a thread for each takes calls from it, makes them in the plugin, and puts the
 * plugin's questions on the same way back. Replies are sent once no call is left of what was read, so that calls
 * that come together cost one waking-up.
 */
#include "plugin/prvng-plugin-host.h"

#include <signal.h>
#include <sys/eventfd.h>

enum { STACK = 2 << 20 };

struct line outside_line = {.outside = true, .cancel_fd = -1, .cancel_lock = PTHREAD_MUTEX_INITIALIZER};

bool lines_wipe;

static _Thread_local struct line *current;
static pthread_mutex_t lines_lock = PTHREAD_MUTEX_INITIALIZER;
static struct line *lines;

struct line *line_of(struct prvng_call *call)
{
        if (call)
                return ((struct local_call *)call)->line;
        return current ?: &outside_line;
}

static void flush(struct line *l)
{
        if (wire_flush(&l->wire) < 0)
                helper_end();
}

/* --- saying and asking --- */

struct wire *line_say(struct line *l, uint32_t type)
{
        pthread_mutex_lock(&l->lock);
        wire_begin(&l->wire, type);
        return &l->wire;
}

void line_said(struct line *l)
{
        wire_end(&l->wire);
        if (l->outside || l->wire.out.n >= WIRE_BATCH)
                flush(l);
        pthread_mutex_unlock(&l->lock);
}

struct wire *line_ask(struct line *l, uint32_t question)
{
        pthread_mutex_lock(&l->lock);
        wire_begin(&l->wire, WIRE_ASK);
        wire_put_u32(&l->wire, question);
        return &l->wire;
}

/* The arguments of the call under way stay where the plugin looks at them; reading goes on elsewhere. */
static void hold(struct line *l)
{
        struct wire *w = &l->wire;

        l->held = w->in;
        w->in = lines_wipe ? BUF_WIPES : BUF_NULL;
        buf_append(&w->in, l->held.data + w->at, l->held.n - w->at);
        w->at = 0;
        l->holds = true;
}

struct wire_message *line_answer(struct line *l, struct wire_message *m)
{
        struct wire *w = &l->wire;

        wire_end(w);
        flush(l);
        if (!l->holds && !l->outside)
                hold(l);
        for (;;) {
                uint32_t head[2];

                if (wire_next(w, m) != 0)
                        helper_end();
                if (m->type == WIRE_ANSWER)
                        return m;
                if (m->type != WIRE_CALL)
                        helper_end();
                head[0] = htole32((uint32_t)(m->end - m->at));
                head[1] = htole32(m->type);
                buf_append(&l->later, head, sizeof(head));
                buf_append(&l->later, m->at, (size_t)(m->end - m->at));
        }
}

void line_over(struct line *l)
{
        pthread_mutex_unlock(&l->lock);
}

/* --- cancelling --- */

void line_cancel(uint32_t number, uint32_t serial)
{
        pthread_mutex_lock(&lines_lock);
        for (struct line *l = lines; l; l = l->next) {
                if (l->number != number)
                        continue;
                pthread_mutex_lock(&l->cancel_lock);
                __atomic_store_n(&l->cancelled_serial, serial, __ATOMIC_SEQ_CST);
                if (l->serial == serial && l->cancel_fd >= 0)
                        eventfd_write(l->cancel_fd, 1);
                pthread_mutex_unlock(&l->cancel_lock);
        }
        pthread_mutex_unlock(&lines_lock);
}

int32_t local_is_cancelled(struct prvng_call *call)
{
        const struct local_call *c = (const struct local_call *)call;

        return __atomic_load_n(&c->line->cancelled_serial, __ATOMIC_ACQUIRE) == c->serial;
}

int32_t local_cancel_fd(struct prvng_call *call)
{
        struct local_call *c = (struct local_call *)call;
        struct line *l = c->line;
        int fd;

        pthread_mutex_lock(&l->cancel_lock);
        if (l->cancel_fd < 0) {
                l->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
                if (l->cancel_fd >= 0 && l->cancelled_serial == c->serial)
                        eventfd_write(l->cancel_fd, 1);
        }
        fd = l->cancel_fd;
        pthread_mutex_unlock(&l->cancel_lock);
        return fd;
}

/* The line's descriptor for cancellations is that of the call which begins. */
static void begin_call(struct line *l, uint32_t serial)
{
        eventfd_t n;

        pthread_mutex_lock(&l->cancel_lock);
        l->serial = serial;
        if (l->cancel_fd >= 0) {
                eventfd_read(l->cancel_fd, &n);
                if (l->cancelled_serial == serial)
                        eventfd_write(l->cancel_fd, 1);
        }
        pthread_mutex_unlock(&l->cancel_lock);
}

/* --- calling --- */

struct arguments {
        uint32_t function;
        const char *text[2];
        const void *data[2];
        uint64_t n_data[2];
        struct prvng_sink token, result;
        struct buf token_buf, result_buf;
};

static const void *table_of(const char *id)
{
        for (size_t n = 0; n < wire_n_interfaces; n++)
                if (streq(wire_interfaces[n].id, id))
                        return the_tables[n];
        return NULL;
}

static int32_t call_op(struct arguments *a, struct prvng_call *call)
{
        const struct prvng_op *op = the_op();

        switch (a->function) {
        case WIRE_PREPARE:
                return op->prepare(the_instance, call, a->text[0], a->data[0], a->n_data[0], &a->result);
        case WIRE_BEGIN:
                return op->begin(the_instance, call, a->text[0], a->data[0], a->n_data[0], &a->token, &a->result);
        case WIRE_POLL:
                return op->poll(the_instance, call, a->text[0], a->data[0], a->n_data[0], a->data[1],
                                a->n_data[1], &a->token, &a->result);
        case WIRE_CANCEL_OP:
                return op->cancel(the_instance, call, a->text[0], a->data[0], a->n_data[0], a->data[1],
                                  a->n_data[1], &a->result);
        case WIRE_OBSERVE:
                return op->observe(the_instance, call, a->text[0], a->data[0], a->n_data[0], a->data[1],
                                   a->n_data[1], &a->token, &a->result);
        case WIRE_READ:
                return op->read(the_instance, call, a->data[0], a->n_data[0], &a->result);
        case WIRE_LIST:
                return op->list(the_instance, call, a->data[0], a->n_data[0], &a->result);
        default:
                return op->describe(the_instance, &a->result);
        }
}

static int32_t call_load(struct arguments *a, struct local_call *call)
{
        const struct prvng_loader *loader = table_of(PRVNG_LOADER);
        struct prvng_document d = {.line = call->line, .events = WIRE_INIT(-1, 0)};
        struct prvng_loader_source s = {.struct_size = sizeof(s), .path = a->text[0], .data = a->data[0],
                                        .n_data = a->n_data[0], .arguments = a->text[1]};
        int32_t r = loader->load(the_instance, &call->pub, &s, &d), status = document_flush(&d);

        wire_deinit(&d.events);
        free(d.file);
        return r >= 0 && status < 0 ? status : r;
}

static int32_t make_call(struct arguments *a, struct local_call *call)
{
        const struct prvng_template *t = table_of(PRVNG_TEMPLATE);
        const struct prvng_provider_precheck *precheck = table_of(PRVNG_PROVIDER_PRECHECK);
        const struct prvng_provider_inventory *inventory = table_of(PRVNG_PROVIDER_INVENTORY);
        const struct prvng_secret *secret = table_of(PRVNG_SECRET);
        struct prvng_call *c = &call->pub;

        switch (a->function) {
        case WIRE_SELF_TEST:
                return the_plugin->self_test(the_instance, c, &a->result);
        case WIRE_PRECHECK:
                return precheck->check(the_instance, c, a->data[0], a->n_data[0], &a->result);
        case WIRE_FIND:
                return inventory->find(the_instance, c, a->text[0], a->text[1], &a->result);
        case WIRE_LOAD:
                return call_load(a, call);
        case WIRE_EVALUATE:
                return t->evaluate(the_instance, c, a->data[0], a->n_data[0], a->data[1], a->n_data[1],
                                   &a->result);
        case WIRE_CHECK:
                return t->check(the_instance, c, a->data[0], a->n_data[0], a->data[1], a->n_data[1]);
        case WIRE_RENDER:
                return t->render(the_instance, c, a->data[0], a->n_data[0], a->data[1], a->n_data[1],
                                 &a->result);
        case WIRE_SECRET_RESOLVE:
                return secret->resolve(the_instance, c, a->text[0], &a->result);
        case WIRE_SECRET_CHECK:
                return secret->check(the_instance, c, a->text[0], &a->result);
        case WIRE_SECRET_LIST:
                return secret->list(the_instance, c, a->text[0], &a->result);
        default:
                return call_op(a, c);
        }
}

static void read_call(struct wire_message *m, struct arguments *a, struct local_call *c)
{
        struct prvng_call *p = &c->pub;

        p->struct_size = sizeof(*p);
        a->function = wire_get_u32(m);
        c->serial = wire_get_u32(m);
        p->attempt = wire_get_u32(m);
        p->deadline_ms = wire_get_i64(m);
        p->epoch = wire_get_u64(m);
        p->op_id = wire_get_text(m);
        p->trace_parent = wire_get_text(m);
        p->run = wire_get_text(m);
        p->task = wire_get_text(m);
        for (int k = 0; k < 2; k++)
                a->text[k] = wire_get_text(m);
        for (int k = 0; k < 2; k++)
                a->data[k] = wire_get_bytes(m, &a->n_data[k]);
        a->token = SINK(&a->token_buf, wire_get_u64(m));
        a->result = SINK(&a->result_buf, wire_get_u64(m));
        if (!wire_done(m) || a->function >= WIRE_N_FUNCTIONS)
                helper_end();
}

static void put_sink(struct wire *w, const struct prvng_sink *s)
{
        wire_put_i32(w, s->error);
        wire_put_bytes(w, s->buf->data ?: "", s->buf->n);
}

static void execute(struct line *l, struct wire_message *m)
{
        struct local_call call = {.line = l};
        struct arguments a = {.token_buf.wipes = lines_wipe, .result_buf.wipes = lines_wipe};
        int32_t answer;

        read_call(m, &a, &call);
        begin_call(l, call.serial);
        answer = make_call(&a, &call);
        pthread_mutex_lock(&l->lock);
        wire_begin(&l->wire, WIRE_REPLY);
        wire_put_u32(&l->wire, call.serial);
        wire_put_i32(&l->wire, answer);
        put_sink(&l->wire, &a.token);
        put_sink(&l->wire, &a.result);
        wire_end(&l->wire);
        if (l->wire.out.n >= WIRE_BATCH)
                flush(l);
        pthread_mutex_unlock(&l->lock);
        buf_deinit(&a.token_buf);
        buf_deinit(&a.result_buf);
        wire_forget(&l->wire);
        if (!l->holds)
                return;
        buf_deinit(&l->held);
        l->holds = false;
        if (l->later.n > 0) { /* they come before what was read since */
                buf_append(&l->later, l->wire.in.data + l->wire.at, l->wire.in.n - l->wire.at);
                buf_deinit(&l->wire.in);
                l->wire.in = l->later;
                l->wire.at = 0;
                l->wire.in.wipes = lines_wipe;
                l->later = BUF_NULL;
        }
}

static void *serve(void *line)
{
        struct line *l = line;
        struct wire_message m;

        current = l;
        for (;;) {
                int r = wire_peek(&l->wire, &m);

                if (r == WIRE_E_LATER) {
                        pthread_mutex_lock(&l->lock);
                        if (l->wire.out.n)
                                flush(l);
                        pthread_mutex_unlock(&l->lock);
                        r = wire_next(&l->wire, &m);
                }
                if (r != 0 || m.type != WIRE_CALL || !the_instance)
                        helper_end();
                execute(l, &m);
        }
        return NULL;
}

void line_open(int fd, uint32_t number)
{
        struct line *l = calloc(1, sizeof(*l));
        pthread_attr_t attr;
        sigset_t all, before;
        pthread_t thread;

        if (!l)
                helper_end();
        l->wire = WIRE_INIT(fd, WIRE_OUT_MAX);
        l->wire.in.wipes = l->wire.out.wipes = lines_wipe;
        l->number = number;
        l->cancel_fd = -1;
        pthread_mutex_init(&l->lock, NULL);
        pthread_mutex_init(&l->cancel_lock, NULL);
        pthread_mutex_lock(&lines_lock);
        l->next = lines;
        lines = l;
        pthread_mutex_unlock(&lines_lock);
        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, STACK);
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        sigfillset(&all);
        sigdelset(&all, SIGSEGV); /* what a fault raises ends us in any case */
        pthread_sigmask(SIG_SETMASK, &all, &before);
        if (pthread_create(&thread, &attr, serve, l) != 0)
                helper_end();
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attr);
}
